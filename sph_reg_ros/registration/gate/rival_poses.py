"""Does a plausible alternative pose score better?"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.errors import ErrorCode
from sph_reg_ros.geometry import se3
from sph_reg_ros.registration.gate.evidence import Evidence
from sph_reg_ros.registration.gate_limits import MAX_RIVAL_GAIN
from sph_reg_ros.registration.result import Check, Verdict

SHIFTS_MM = (18.0, 44.0)
"""Along the patient's axis, either way; vertebrae lie as far apart. The solver finds the rest from
the most similar one."""
SHIFT_PX = 2
"""Distance of the shifts that are looked at."""
STEPS, REDUCTION = 6, 1e-3
DISTINCT_MM = 8.0
"""What ends nearer than this is the same pose."""


@dataclass(frozen=True)
class Rival:
    """The best pose elsewhere.

    Attributes:
        gain: by which its similarity exceeds that of the pose itself; negative if it is worse.
        distance_mm: mean distance of the targets under both.
    """

    gain: float
    distance_mm: float


def best_rival(evidence: Evidence) -> Rival | None:
    """Return the best pose elsewhere that starts lead to, None if all lead out of view or back."""
    found = evidence.sought(evidence.coarsest, rival_starts(evidence), REDUCTION, STEPS)
    elsewhere = found.rows_beyond(DISTINCT_MM)
    if not elsewhere:
        return None
    start = found.poses[min(elsewhere, key=found.costs.__getitem__)]
    there = evidence.sought(evidence.coarse, start[None], REDUCTION, STEPS)
    if not there.rows_beyond(DISTINCT_MM):
        return None
    return Rival(_gain(evidence, there.costs[0]), there.distances_mm[0])


def _gain(evidence: Evidence, cost_there: float) -> float:
    level, here = evidence.coarse, evidence.pose[None]
    gain = float(level.linearise(here, seen=True).cost) - cost_there
    if gain > MAX_RIVAL_GAIN:
        # The pose was found by another similarity, at another level: it may settle, too.
        (settled,) = evidence.sought(level, here, REDUCTION, STEPS).costs
        gain = settled - cost_there if settled < math.inf else gain
    return gain / (2 * len(level.views))


def rival_starts(evidence: Evidence) -> Float64[Tensor, '5 4 4']:
    """Return the pose one vertebra up and down, and half a turn about each axis of the patient."""
    axes, centre = evidence.pose[:3, :3].T, evidence.seen.centre
    nothing = torch.zeros(3, 3, dtype=torch.float64)
    turned = se3.apply_twist(torch.cat([math.pi * axes, nothing], 1), evidence.pose, centre)
    return torch.cat([*(_shifted(evidence, sign * axes[2]) for sign in (-1, 1)), turned])


def _shifted(evidence: Evidence, axis: Float64[Tensor, '3']) -> Float64[Tensor, '1 4 4']:
    """Return the pose shifted along an axis by the SHIFTS_MM that looks best."""
    level, (nearest, farthest) = evidence.coarsest, SHIFTS_MM
    step_mm = SHIFT_PX * evidence.seen.distance_mm / level.views[0].camera.focal_length
    steps = 1 + math.ceil((farthest - nearest) / step_mm)
    poses = evidence.pose.repeat(steps, 1, 1)
    sizes = torch.linspace(nearest, farthest, steps, dtype=torch.float64)
    poses[:, :3, 3] += torch.outer(sizes, axis)
    return poses[level.scores(poses).argmax(), None]


def check_rival(rival: Rival | None) -> Check:
    """Reject if another pose looks better than this one."""
    gain = -math.inf if rival is None else rival.gain
    return Check.at_most('rival', gain, MAX_RIVAL_GAIN, (Verdict.REJECTED, ErrorCode.RIVAL_POSE))
