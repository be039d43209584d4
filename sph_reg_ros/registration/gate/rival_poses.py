"""Is there another pose at which the X-rays agree as well? Rivals that look alike are asked."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.errors import ErrorCode
from sph_reg_ros.geometry import se3
from sph_reg_ros.geometry.box import mean_distance_mm
from sph_reg_ros.registration.gate.evidence import Evidence
from sph_reg_ros.registration.gate_limits import MAX_RIVAL_GAIN
from sph_reg_ros.registration.result import Check, Verdict
from sph_reg_ros.solvers import LMResult

SHIFTS_MM = (-32.0, 32.0)
"""Along the patient's axis; vertebrae lie 25 to 40 mm apart, the solver finds the rest."""
STEPS, PROMISE = 6, 1e-3
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
    """Return the best pose elsewhere that decoys lead to, None if all lead out of view or back."""
    level = evidence.coarse
    start = _scouted(evidence)
    if start is None:
        return None
    there = evidence.sought(level, start, PROMISE, STEPS)
    if there is None:
        return None
    distance = float(mean_distance_mm(there.pose, evidence.pose, evidence.targets))
    if distance < DISTINCT_MM:
        return None
    return Rival(_gain(evidence, there), distance)


def _gain(evidence: Evidence, there: LMResult) -> float:
    level = evidence.coarse
    gain = level.cost(evidence.pose) - there.cost
    if gain > MAX_RIVAL_GAIN:
        # The pose was found by another similarity, at another level: it may settle, too.
        here = evidence.sought(level, evidence.pose, PROMISE, STEPS)
        gain = gain if here is None else here.cost - there.cost
    return gain / (2 * len(level.views))


def _scouted(evidence: Evidence) -> Float64[Tensor, '4 4'] | None:
    """Return where the most promising decoy leads to at the coarsest level."""
    found = []
    for start in decoys(evidence):
        result = evidence.sought(evidence.coarsest, start, PROMISE, STEPS)
        if result is None:
            continue
        if mean_distance_mm(result.pose, evidence.pose, evidence.targets) > DISTINCT_MM:
            found.append(result)
    best = min(found, key=lambda result: result.cost, default=None)
    return None if best is None else best.pose


def decoys(evidence: Evidence) -> Iterator[Float64[Tensor, '4 4']]:
    """Yield the pose one vertebra up and down, and half a turn about each axis of the patient."""
    axes, nothing = evidence.pose[:3, :3], torch.zeros(3, dtype=torch.float64)
    centre = evidence.finest.volume.centre
    for shift in SHIFTS_MM:
        yield se3.apply_twist(torch.cat([nothing, shift * axes[:, 2]]), evidence.pose, centre)
    for axis in range(3):
        turn = torch.cat([math.pi * axes[:, axis], nothing])
        yield se3.apply_twist(turn, evidence.pose, centre)


def check_rival(rival: Rival | None) -> Check:
    """Reject if another pose looks better than this one."""
    gain = -math.inf if rival is None else rival.gain
    return Check.at_most('rival', gain, MAX_RIVAL_GAIN, (Verdict.REJECTED, ErrorCode.RIVAL_POSE))
