"""Is the pose found again, by a similarity that was not optimised and from other starts?"""

import math
from dataclasses import dataclass

import torch

from sph_reg_ros.errors import ErrorCode
from sph_reg_ros.geometry import se3
from sph_reg_ros.geometry.box import mean_distance_mm
from sph_reg_ros.registration.gate.evidence import FAR, Evidence
from sph_reg_ros.registration.gate_limits import (
    MAX_HELD_OUT_MM,
    MAX_REMAINING_MM,
    MAX_RETURN_MM,
)
from sph_reg_ros.registration.result import Check, Verdict

AWAY = torch.tensor([0.05, -0.05, 0.05, 5.0, -5.0, 12.0], dtype=torch.float64)
"""The first other start; the second one lies opposite. Rotation rad, shift mm: within the reach of
the solver, far outside that of its errors."""
_REDUCTION, _STEPS = 3e-4, 6


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
    starts = se3.apply_twist(torch.stack([AWAY, -AWAY]), evidence.pose, centre)
    away = evidence.sought(evidence.coarse, starts, _REDUCTION, _STEPS)
    nearest = min(range(len(starts)), key=away.distances_mm.__getitem__)
    others = [mm for row, mm in enumerate(away.distances_mm) if row != nearest]
    starts = torch.stack([evidence.pose, away.poses[nearest]])
    here, back = evidence.sought(evidence.middle, starts, _REDUCTION, _STEPS).distances_mm
    return Again(here, (back if away.costs[nearest] < math.inf else FAR, *others))


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
