"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

CT_HELP = 'DICOM series folder, NIfTI, NRRD, MHA or MHD.'

CtPath = Annotated[Path, typer.Option(metavar='PATH', help=CT_HELP)]
SeriesUid = Annotated[str | None, typer.Option(metavar='UID', help='SeriesInstanceUID of the CT.')]
AssumeLps = Annotated[
    bool,
    typer.Option(
        '--assume-lps',
        help='A CT file that does not say how the patient lies has axes to the left, to the back '
        'and to the head.',
    ),
]
Energy = Annotated[
    float, typer.Option(metavar='KEV', help='Effective energy of the X-ray, 30 to 150.')
]
