"""The command sph-reg selftest: the CT's own localizer registered to it."""

from pathlib import Path
from typing import Annotated

import typer

from sph_reg_ros.cli.exits import EXIT_NOT_USABLE, reported_errors
from sph_reg_ros.cli.options import Energy, SeriesUid, option
from sph_reg_ros.cli.settings import PANEL, read_settings, setting


def selftest_command(
    ct: Annotated[
        Path, typer.Argument(metavar='PATH', help='DICOM folder of the study: CT and localizer.')
    ],
    output: Annotated[
        Path | None, option('FOLDER', 'For selftest.json and a picture of each localizer.')
    ] = None,
    as_json: Annotated[
        bool, typer.Option('--json', help='Print the result as JSON and nothing else.')
    ] = False,
    series: SeriesUid = None,
    energy: Energy = 70.0,
    tries: Annotated[int, option('N', 'Registrations, each from a start of its own.')] = 3,
    rotation: Annotated[
        float, option('DEG', "Each start's turn away from the scanner's pose, about any axis.")
    ] = 8.0,
    shift: Annotated[
        float, option('MM', "Each start's shift away from it, in any direction.")
    ] = 10.0,
    seed: Annotated[int, option('N', 'The same gives the same starts.')] = 0,
    config: Annotated[
        Path | None, option('FILE', 'YAML with settings, as of sph-reg register.', PANEL)
    ] = None,
    max_tre_across_mm: Annotated[
        float | None,
        option(
            'MM',
            'Error across the beam that can be borne; max_tre_mm if it is not given. A line scan '
            'leaves the distance along the beam open.',
            PANEL,
        ),
    ] = None,
    backend: Annotated[str | None, setting('backend', 'NAME')] = None,
    device: Annotated[str | None, setting('device', 'NAME')] = None,
) -> None:
    """Register a CT's own localizers (scouts, topograms), real X-rays whose pose the scanner knows.

    Exit code 0 only if every localizer's pose passed every check and is the scanner's, 1 if not, 2
    on an error or without a localizer.
    """
    # Imported lazily: torch takes seconds.
    from sph_reg_ros.cli.progress import progress_bar
    from sph_reg_ros.cli.selftest_report import SelfTestJob, self_test_folder
    from sph_reg_ros.registration.self_test.self_test import SelfTestSettings

    with reported_errors(as_json), progress_bar() as report:
        settings = read_settings(
            config, {'max_tre_across_mm': max_tre_across_mm, 'backend': backend, 'device': device}
        )
        starts = SelfTestSettings(tries, rotation, shift, seed)
        job = SelfTestJob(ct, series, energy, starts, settings.config)
        found = self_test_folder(job, report)
        files = () if output is None else found.write(output)
    for line in [found.json_text()] if as_json else [*found.lines(), *found.file_lines(files)]:
        typer.echo(line)
    if not found.passed:
        raise typer.Exit(EXIT_NOT_USABLE)
