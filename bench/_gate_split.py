"""Limits and bound from the X-rays of some CTs, tried on those of another."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from _gate_poses import RIGHT
from _gate_trials import GateTrial

MEASURED = (
    'sigma_across_beam_mm',
    'sigma_along_beam_mm',
    'remaining_step_mm',
    'patch_displacement_mm',
    'focal_misfit',
    'principal_point_misfit',
    'aspect_misfit',
    'distortion_misfit',
    'held_out_mm',
    'other_starts_mm',
    'rival',
)
"""Checks whose limits are measured, all upper ones; the others follow from what they mean."""
QUANTILE, MARGIN = 0.99, 1.25
"""A limit is this quantile of the correct poses' figures, and that much more of its size."""
COVERAGE = 0.95


@dataclass(frozen=True)
class Split:
    """What some CTs teach, and the trials of the one that is left.

    Attributes:
        name: of the CT that is left.
        limits: of the checks in MEASURED.
        scale: of the bound.
        tested: trials of the CT that is left.
    """

    name: str
    limits: dict[str, float]
    scale: float
    tested: list[GateTrial]

    def verifies(self, trial: GateTrial) -> bool:
        """Return whether a trial passes these limits, and the other checks as they are."""
        if not trial.figures:
            return False
        kept = all(trial.figures[name] <= limit for name, limit in self.limits.items())
        others = set(trial.failed) - set(self.limits) - {'tre_p95_mm'}
        return kept and not others and self.scale * trial.estimate_mm <= 3.0

    def covers(self, trial: GateTrial) -> bool:
        """Return whether the error keeps to the bound by this scale."""
        return trial.error_mm <= self.scale * trial.estimate_mm


def splits(trials: Sequence[GateTrial]) -> Iterator[Split]:
    """Yield one split for each CT, if there are others to learn from."""
    names = sorted({trial.ct for trial in trials})
    for name in names if len(names) > 1 else ():
        right = [t for t in trials if t.ct != name and t.kind in RIGHT and t.correct and t.figures]
        if right:
            tested = [trial for trial in trials if trial.ct == name]
            yield Split(name, _limits(right), _scale(right), tested)


def _limits(right: Sequence[GateTrial]) -> dict[str, float]:
    limits = {}
    for check in MEASURED:
        figures = np.array([trial.figures[check] for trial in right])
        limit = float(np.quantile(figures, QUANTILE, method='nearest'))
        limits[check] = limit + (MARGIN - 1) * abs(limit)
    # The best rival of a correct pose is worse than it: nearer to 0 is the margin.
    limits['rival'] = min(0.0, limits['rival'])
    return limits


def _scale(right: Sequence[GateTrial]) -> float:
    ratios = [trial.error_mm / trial.estimate_mm for trial in right if trial.estimate_mm > 0]
    return float(np.quantile(ratios, COVERAGE, method='higher'))
