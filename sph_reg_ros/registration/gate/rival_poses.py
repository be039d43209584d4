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

SHIFTS_MM = (-32.0, 32.0)
"""Along the patient's axis; vertebrae lie 25 to 40 mm apart, the solver finds the rest."""
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
    axes = evidence.pose[:3, :3].T
    shifts = torch.outer(torch.tensor(SHIFTS_MM, dtype=torch.float64), axes[2])
    twists = torch.block_diag(math.pi * axes, shifts)
    return se3.apply_twist(twists, evidence.pose, evidence.finest.volume.centre)


def check_rival(rival: Rival | None) -> Check:
    """Reject if another pose looks better than this one."""
    gain = -math.inf if rival is None else rival.gain
    return Check.at_most('rival', gain, MAX_RIVAL_GAIN, (Verdict.REJECTED, ErrorCode.RIVAL_POSE))
