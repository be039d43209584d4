"""Options that several commands have."""

from pathlib import Path
from typing import Annotated, Any

import typer


def option(metavar: str, text: str, panel: str | None = None, *names: str) -> Any:
    """Return an option; its name is that of the argument unless some are given."""
    return typer.Option(*names, metavar=metavar, help=text, rich_help_panel=panel)


CT_HELP = 'DICOM series folder, NIfTI, NRRD, MHA or MHD.'

CtPath = Annotated[Path, option('PATH', CT_HELP)]
SeriesUid = Annotated[str | None, option('UID', 'SeriesInstanceUID of the CT.')]
AssumeLps = Annotated[
    bool,
    typer.Option(
        '--assume-lps',
        help='A CT file that does not say how the patient lies has axes to the left, to the back '
        'and to the head.',
    ),
]
Energy = Annotated[float, option('KEV', 'Effective energy of the X-ray, 30 to 150.')]
