"""The command sph-reg demo: the main job without ROS and without data of one's own."""

from pathlib import Path
from typing import Annotated

import typer

from sph_reg_ros.cli.ct_file import read_ct
from sph_reg_ros.cli.exits import EXIT_NOT_USABLE, reported_errors
from sph_reg_ros.cli.options import CT_HELP, AssumeLps, SeriesUid, option


def demo_command(
    ct: Annotated[Path | None, option('PATH', f'{CT_HELP} The sample CT if absent.')] = None,
    output: Annotated[Path, option('FOLDER', 'For the picture; made if it is not there.')] = Path(
        'demo'
    ),
    images: Annotated[
        int, typer.Option(metavar='N', min=1, max=50, help='X-rays of the orbit.')
    ] = 5,
    series: SeriesUid = None,
    assume_lps: AssumeLps = False,
) -> None:
    """Register simulated X-rays of a CT from wrong starts, and compare with the truth.

    Exit code 0 if every pose is VERIFIED and near the truth, 1 if not, 2 on an error.
    """
    # Imported lazily: torch takes seconds.
    from sph_reg_ros.demo.contact_sheet import save_contact_sheet
    from sph_reg_ros.demo.table import header, passed, summary
    from sph_reg_ros.demo.without_ros import registered_images
    from sph_reg_ros.imaging.sample_ct import sample_ct_path

    shown = []
    with reported_errors():
        volume = read_ct(sample_ct_path() if ct is None else ct, series, assume_lps=assume_lps)
        typer.echo(header())
        for image in registered_images(volume, images):
            shown.append(image)
            typer.echo(str(image.row))
        sheet = output / 'contact_sheet.png'
        save_contact_sheet([image.tile for image in shown], sheet)
    rows = [image.row for image in shown]
    typer.echo(f'picture: {sheet}\n{summary(rows)}')
    if not passed(rows, images):
        raise typer.Exit(EXIT_NOT_USABLE)
