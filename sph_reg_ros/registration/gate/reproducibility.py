"""Is the pose found again, by a similarity that was not optimised and from other starts?"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.errors import ErrorCode
from sph_reg_ros.geometry import se3
from sph_reg_ros.registration.error_parts import ErrorParts, VerdictFor
from sph_reg_ros.registration.gate.evidence import FAR, Evidence, Sought
from sph_reg_ros.registration.gate_limits import (
    MAX_HELD_OUT_MM,
    MAX_REMAINING_MM,
    MAX_RETURN_MM,
)
from sph_reg_ros.registration.result import Check, Verdict

AWAY = torch.tensor([0.05, -0.05, 0.05, 5.0, -5.0, 12.0], dtype=torch.float64)
"""The first other start where a full field is seen; the second one lies opposite. Rotation rad,
shift mm: within the reach of the solver, far outside that of its errors."""
_REDUCTION, _STEPS = 3e-4, 6


@dataclass(frozen=True)
class Again:
    """Where the similarity that was not optimised leads to.

    Attributes:
        from_here: mean distance of the targets from the pose, started at it.
        from_away: the same for each other start; the nearest end is exact, others are coarse.
    """

    from_here: ErrorParts
    from_away: tuple[ErrorParts, ...]


def seek_again(evidence: Evidence) -> Again:
    """Seek the pose with the similarity that was not optimised."""
    starts = other_starts(evidence)
    away = evidence.sought(evidence.coarse, starts, _REDUCTION, _STEPS)
    nearest = min(range(len(starts)), key=away.distances_mm.__getitem__)
    ends = _distances(evidence, away)
    others = [end for row, end in enumerate(ends) if row != nearest]
    starts = torch.stack([evidence.pose, away.poses[nearest]])
    middle = evidence.sought(evidence.middle, starts, _REDUCTION, _STEPS)
    here, back = _distances(evidence, middle)
    return Again(here, (back if away.costs[nearest] < math.inf else ends[nearest], *others))


def _distances(evidence: Evidence, sought: Sought) -> list[ErrorParts]:
    return [
        evidence.errors.to(pose) if cost < math.inf else ErrorParts.all_of(FAR)
        for pose, cost in zip(sought.poses, sought.costs, strict=True)
    ]


def other_starts(evidence: Evidence) -> Float64[Tensor, '2 4 4']:
    """Return poses beside the pose that look as far from it whatever the size of what is seen."""
    seen = evidence.seen
    shares = [seen.turn_share] * 3 + [seen.share] * 2 + [seen.distance_share]
    away = AWAY * torch.tensor(shares, dtype=torch.float64)
    return se3.apply_twist(torch.stack([away, -away]), evidence.pose, seen.centre)


def check_remaining_step(evidence: Evidence) -> Check:
    """Reject if the optimised similarity itself still wants to move."""
    step_mm = evidence.errors.to(evidence.remaining_step).asked(evidence.config.verdict_for)
    return Check.at_most(
        'remaining_step_mm',
        step_mm,
        MAX_REMAINING_MM,
        (Verdict.REJECTED, ErrorCode.NOT_CONVERGED),
    )


def check_held_out(again: Again, what: VerdictFor) -> Check:
    """Reject if another similarity leads away from the pose."""
    against = (Verdict.REJECTED, ErrorCode.SIMILARITIES_DISAGREE)
    return Check.at_most('held_out_mm', again.from_here.asked(what), MAX_HELD_OUT_MM, against)


def check_starts(again: Again, what: VerdictFor) -> Check:
    """Reject if no other start leads back to the pose.

    One that is caught on its way by an instrument is no evidence; wrong poses lose all.
    """
    against = (Verdict.REJECTED, ErrorCode.STARTS_DISAGREE)
    nearest_mm = min(end.asked(what) for end in again.from_away)
    return Check.at_most('other_starts_mm', nearest_mm, MAX_RETURN_MM, against)
