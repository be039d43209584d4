"""The commands of sph-reg."""

import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from sph_reg_ros import __version__
from sph_reg_ros.cli.demo import demo_command
from sph_reg_ros.cli.exits import EXIT_ERROR, EXIT_NOT_USABLE, reported_errors
from sph_reg_ros.cli.options import CT_HELP, AssumeLps
from sph_reg_ros.cli.register import register_command
from sph_reg_ros.cli.render import render_command
from sph_reg_ros.cli.replay import replay_command
from sph_reg_ros.cli.selftest import selftest_command
from sph_reg_ros.cli.simulate import simulate_command
from sph_reg_ros.cli.train import train_command

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help='Finds where a patient is: registers a CT to C-arm X-rays. Research use only, not a '
    'medical device.',
    epilog='sph-reg COMMAND --help lists the options of a command.',
)


def main() -> None:
    """Run the command line."""
    try:
        app(prog_name='sph-reg')
    except Exception:
        # Python's own exit code would be that of a registration that is not usable.
        traceback.print_exc()
        sys.exit(EXIT_ERROR)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f'sph-reg {__version__}')
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            '--version',
            callback=_print_version,
            is_eager=True,
            help='Show the version and exit.',
        ),
    ] = False,
) -> None:
    """Take the options that belong to no command; the help is that of `app`."""


@app.command()
def check(
    ct: Annotated[
        Path | None, typer.Option(metavar='PATH', help='CT to read; the sample CT if absent.')
    ] = None,
) -> None:
    """Show on one screen what is installed and works; exit code 1 if something is broken."""
    # Imported lazily: torch takes seconds.
    from sph_reg_ros.cli.check import check_lines

    lines = check_lines(ct)
    for line in lines:
        typer.echo(str(line))
    if any(line.is_broken for line in lines):
        raise typer.Exit(EXIT_NOT_USABLE)


@app.command('ct-info')
def ct_info(
    path: Annotated[Path, typer.Argument(metavar='PATH', help=CT_HELP)],
    series: Annotated[
        str | None, typer.Option(metavar='UID', help='SeriesInstanceUID to describe.')
    ] = None,
    assume_lps: AssumeLps = False,
) -> None:
    """List the series of a folder, and print the geometry of the one that is meant."""
    # Imported lazily: torch takes seconds.
    from sph_reg_ros.cli.ct_info import ct_info_lines

    with reported_errors():
        for line in ct_info_lines(path, series, assume_lps=assume_lps):
            typer.echo(line)


app.command('demo')(demo_command)
app.command('register')(register_command)
app.command('render')(render_command)
app.command('selftest')(selftest_command)
app.command('simulate')(simulate_command)
app.command('replay')(replay_command)
app.command('train')(train_command)
