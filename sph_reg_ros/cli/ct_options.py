"""Options that several commands have for their CT."""

from typing import Annotated

import typer

AssumeLps = Annotated[
    bool,
    typer.Option(
        '--assume-lps',
        help='A CT file that does not say how the patient lies has axes to the left, to the back '
        'and to the head.',
    ),
]
