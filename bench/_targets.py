"""What was to be reached, and whether it was."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from _learned import IMAGE, SPHERICAL_POLISH
from _solvers import GOAL, LM

CORRELATION, ANGLE_DEG = 0.98, 25.0
COARSE_SHARE, SHARE = 0.95, 0.90
STEPS_SHARE = 0.1
FAR_CASES, NO_GUESS = 'far', 'no guess'

Figures = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """One figure, what it was to be, and whether it is."""

    what: str
    wanted: str
    found: str
    met: bool


def targets_of(results: dict[str, list[Figures]], similarity: str) -> list[Target]:
    """Return the targets that the measured parts are about.

    Args:
        results: figures by part.
        similarity: name of the one that is to be accepted.
    """
    rows = results.get('methods', [])
    accepted = [e for e in results.get('acceptance', []) if e['similarity'] == similarity]
    return [
        *(target for entry in accepted for target in _of_acceptance(entry)),
        *(target for row in rows for target in _of_no_guess(row)),
        *_of_far(rows),
        *_of_solvers(results.get('solvers', [])),
    ]


def print_targets(targets: Sequence[Target]) -> None:
    """Print one line each."""
    if targets:
        print(f'\n{"target":<74}{"wanted":>22}{"found":>22}')
    for target in targets:
        met = 'met' if target.met else 'MISSED'
        print(f'{target.what:<74}{target.wanted:>22}{target.found:>22}  {met}')


def _of_acceptance(entry: Figures) -> Iterator[Target]:
    words = f'similarity, {entry["condition"]}'
    value = entry['correlation']
    yield Target(
        f'{words}: correlation of distances',
        f'> {CORRELATION}',
        f'{value:.3f}',
        value > CORRELATION,
    )
    for part in ('rotation', 'translation'):
        value = entry[f'{part}_deg']
        what = f'{words}: median angle of gradients, {part}'
        yield Target(what, f'< {ANGLE_DEG:.0f} deg', f'{value:.1f} deg', value < ANGLE_DEG)


def _of_no_guess(row: Figures) -> Iterator[Target]:
    if row['protocol'] != NO_GUESS or row['method'] != SPHERICAL_POLISH:
        return
    summary = row['summary']
    for limit, name, wanted in (
        (10, 'coarse_success_share', COARSE_SHARE),
        (2, 'success_share', SHARE),
    ):
        share = summary[name]
        what = f'no guess, {row["condition"]}: spherical + polish, below {limit} mm'
        yield Target(what, f'>= {100 * wanted:.0f} %', f'{100 * share:.1f} %', share >= wanted)


def _of_far(rows: Sequence[Figures]) -> Iterator[Target]:
    far = {(r['condition'], r['method']): r['summary'] for r in rows if r['protocol'] == FAR_CASES}
    for (condition, method), image in far.items():
        ours = far.get((condition, SPHERICAL_POLISH))
        if method != IMAGE or ours is None:
            continue
        for what, better, name, unit, factor in (
            ('success below 2 mm', '>', 'success_share', '%', 100.0),
            ('median mTRE', '<', 'mtre_mm', 'mm', 1.0),
            ('median time', '<', 'seconds', 's', 1.0),
        ):
            theirs, found = (_first(summary[name]) * factor for summary in (image, ours))
            met = found > theirs if better == '>' else found < theirs
            yield Target(
                f'far, {condition}: spherical + polish against image, {what}',
                f'{better} {theirs:.3g} {unit}',
                f'{found:.3g} {unit}' + (', equal' if found == theirs else ''),
                met,
            )


def _of_solvers(entries: Sequence[Figures]) -> Iterator[Target]:
    steps = {(e['protocol'], e['condition'], e['solver']): e['steps'] for e in entries}
    for (protocol, condition, solver), goal in steps.items():
        if solver == GOAL and goal is not None:
            found = steps[protocol, condition, LM]
            limit = STEPS_SHARE * goal
            met = found is not None and found <= limit
            what = f"{protocol}, {condition}: LM steps to SGD's final error"
            wanted = f'<= {limit:.1f}' if goal else 'any: SGD gains nothing'
            yield Target(what, wanted, 'never' if found is None else str(found), met)


def _first(value: float | Sequence[float]) -> float:
    return value if isinstance(value, float | int) else value[0]
