"""Is the pose found again, by a similarity that was not optimised and from other starts?"""

from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.errors import ErrorCode
from sph_reg_ros.geometry import se3
from sph_reg_ros.geometry.box import mean_distance_mm
from sph_reg_ros.registration.gate.evidence import Evidence
from sph_reg_ros.registration.gate_limits import (
    MAX_HELD_OUT_MM,
    MAX_REMAINING_MM,
    MAX_RETURN_MM,
)
from sph_reg_ros.registration.level import Level
from sph_reg_ros.registration.result import Check, Verdict

AWAY = torch.tensor([0.05, -0.05, 0.05, 5.0, -5.0, 12.0], dtype=torch.float64)
"""The first other start; the second one lies opposite. Rotation rad, shift mm: within the reach of
the solver, far outside that of its errors."""
FAR = 1e3
"""Distance (mm) that stands for: nowhere."""
_PROMISE, _STEPS = 3e-4, 6


@dataclass(frozen=True)
class Again:
    """Where the similarity that was not optimised leads to.

    Attributes:
        from_here_mm: mean distance of the targets from the pose, started at it.
        from_away_mm: the same for each other start; the nearest end is exact, others are coarse.
    """

    from_here_mm: float
    from_away_mm: tuple[float, ...]


def seek_again(evidence: Evidence) -> Again:
    """Seek the pose with the similarity that was not optimised."""
    centre = evidence.finest.volume.centre
    starts = [se3.apply_twist(side * AWAY, evidence.pose, centre) for side in (1.0, -1.0)]
    ends = [_sought(evidence, evidence.coarse, start) for start in starts]
    ends.sort(key=lambda end: _distance_mm(evidence, end))
    if ends[0] is not None:
        ends[0] = _sought(evidence, evidence.middle, ends[0])
    here = _sought(evidence, evidence.middle, evidence.pose)
    distances = [_distance_mm(evidence, end) for end in (here, *ends)]
    return Again(distances[0], tuple(distances[1:]))


def check_remaining_step(evidence: Evidence) -> Check:
    """Reject if the optimised similarity itself still wants to move."""
    step_mm = float(mean_distance_mm(evidence.remaining_step, evidence.pose, evidence.targets))
    return Check.at_most(
        'remaining_step_mm',
        step_mm,
        MAX_REMAINING_MM,
        (Verdict.REJECTED, ErrorCode.NOT_CONVERGED),
    )


def check_held_out(again: Again) -> Check:
    """Reject if another similarity leads away from the pose."""
    against = (Verdict.REJECTED, ErrorCode.SIMILARITIES_DISAGREE)
    return Check.at_most('held_out_mm', again.from_here_mm, MAX_HELD_OUT_MM, against)


def check_starts(again: Again) -> Check:
    """Reject if no other start leads back to the pose.

    One that is caught on its way by an instrument is no evidence; wrong poses lose all.
    """
    against = (Verdict.REJECTED, ErrorCode.STARTS_DISAGREE)
    return Check.at_most('other_starts_mm', min(again.from_away_mm), MAX_RETURN_MM, against)


def _sought(
    evidence: Evidence, level: Level, start: Float64[Tensor, '4 4']
) -> Float64[Tensor, '4 4'] | None:
    found = evidence.sought(level, start, _PROMISE, _STEPS)
    return None if found is None else found.pose


def _distance_mm(evidence: Evidence, end: Float64[Tensor, '4 4'] | None) -> float:
    return FAR if end is None else float(mean_distance_mm(end, evidence.pose, evidence.targets))
