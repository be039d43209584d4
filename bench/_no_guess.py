"""What a registration without initial pose was to reach, and whether it did."""

from collections.abc import Iterator, Sequence

from _targets import Figures, Target

from sph_reg_ros.evaluation.protocols import NO_GUESS
from sph_reg_ros.evaluation.viewpoints import FIELD_MM

SHARES = {'clean': 0.99, 'disturbed': 0.95}
SMALL_FIELDS = ((110.0, 0.90), (150.0, 0.97))
"""Edge of a detector of at least so many mm, share of the poses that are right."""
MEDIAN_S = 1.2


def targets_without_guess(rows: Sequence[Figures], field_mm: float) -> list[Target]:
    """Return the targets of rows of the table that were told no start."""
    return [
        target
        for row in rows
        if row['protocol'] == NO_GUESS.name
        for target in _of_row(row, field_mm)
    ]


def _of_row(row: Figures, field_mm: float) -> Iterator[Target]:
    summary, share = row['summary'], SHARES[row['condition']]
    if field_mm < FIELD_MM:
        share = max((goal for edge, goal in SMALL_FIELDS if field_mm >= edge), default=0.0)
    what = f'no guess, {row["ct"]}, {row["condition"]}, {field_mm:g} mm'
    found = summary['success_share']
    yield Target(
        f'{what}: below 2 mm',
        f'>= {share:.0%}',
        f'{found:.0%} of {summary["cases"]}',
        found >= share,
    )
    wrong = summary['wrongly_verified']
    yield Target(f'{what}: wrong poses VERIFIED', '0', str(wrong), wrong == 0)
    median_s = summary['seconds'][0]
    yield Target(
        f'{what}: median time', f'<= {MEDIAN_S} s', f'{median_s:.2f} s', median_s <= MEDIAN_S
    )
