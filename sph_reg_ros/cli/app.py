"""Commands of sph-reg; each is a few calls of the library."""

import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from sph_reg_ros.cli.check import check_lines
from sph_reg_ros.cli.ct_info import ct_info_lines
from sph_reg_ros.cli.exits import EXIT_ERROR, EXIT_NOT_USABLE, reported_errors
from sph_reg_ros.cli.register import register_command
from sph_reg_ros.cli.replay import replay_command
from sph_reg_ros.cli.simulate import simulate_command
from sph_reg_ros.cli.train import train_command

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help='Registers a CT to C-arm X-rays. Research use only, not a medical device.',
)
app.command('register')(register_command)
app.command('train')(train_command)
app.command('simulate')(simulate_command)
app.command('replay')(replay_command)


def main() -> None:
    """Run the command line."""
    try:
        app()
    except Exception:
        # Python's own exit code would be that of a registration that is not usable.
        traceback.print_exc()
        sys.exit(EXIT_ERROR)


@app.command()
def check(
    ct: Annotated[Path | None, typer.Option(help='CT to read; the sample CT if absent.')] = None,
) -> None:
    """Show on one screen what is installed and works; exit code 1 if something is broken."""
    lines = check_lines(ct)
    for line in lines:
        typer.echo(str(line))
    if any(line.is_broken for line in lines):
        raise typer.Exit(EXIT_NOT_USABLE)


@app.command('ct-info')
def ct_info(
    path: Annotated[Path, typer.Argument(help='DICOM series folder, NIfTI, NRRD, MHA or MHD.')],
    series: Annotated[str | None, typer.Option(help='SeriesInstanceUID to describe.')] = None,
) -> None:
    """List the series of a folder, and print the geometry of the one that is meant."""
    with reported_errors():
        for line in ct_info_lines(path, series):
            typer.echo(line)
