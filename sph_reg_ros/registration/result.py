"""What a registration answers."""

from dataclasses import dataclass
from enum import IntEnum

from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.solvers import TerminationReason


class Verdict(IntEnum):
    """What may be done with a pose; the numbers are those of msg/RegistrationResult.msg."""

    UNVERIFIED = 0
    VERIFIED = 1
    REJECTED = 2


@dataclass(frozen=True)
class Check:
    """One figure that was compared with its limit."""

    name: str
    value: float
    limit: float
    passed: bool


@dataclass(frozen=True)
class Progress:
    """State of a running registration, handed to an observer after every iteration.

    Attributes:
        stage: name of the pipeline step.
        iteration: iterations so far, all stages together.
        loss: 1 - similarity now.
        best_loss: lowest loss of this stage.
        elapsed_s: seconds since the start.
    """

    stage: str
    iteration: int
    loss: float
    best_loss: float
    elapsed_s: float


@dataclass(frozen=True)
class RunnerUp:
    """The second best of the distinct optima that the search led to.

    Attributes:
        similarity: there, patch by patch, at the last resolution at which both were refined.
        best_similarity: of the best optimum at that resolution.
        distance_mm: mean distance of the CT's corners between both.
    """

    similarity: float
    best_similarity: float
    distance_mm: float


@dataclass(frozen=True)
class RegistrationResult:
    """The pose, how sure it is, and how it was found.

    Attributes:
        camera_from_ct: one rigid transform [4, 4] a view, CT (LPS mm) to camera (mm).
        covariance: [6, 6] of the twist (omega in rad, v in mm) in the camera axes of the first
            view, about `centre_lps_mm`.
        centre_lps_mm: the anatomy centre [3] that twists turn about, CT coordinates.
        termination: why the solver stopped.
        similarity_before: mean similarity of the views at the initial pose, at a coarse level; -1
            if the CT is not in view there.
        similarity_after: the same at the final pose, at the last level.
        iterations: accepted and refused solver steps, all starts and levels together.
        timings_s: seconds a step, by its name.
        checks: what `verify` compared.
        verdict: VERIFIED only if every check passed.
        warnings: things the caller should know.
        backend: the renderer that was used.
        method: as in RegistrationConfig.
        similarity: as in RegistrationConfig.
        runner_up: None if the search was off or led to one optimum only.
    """

    camera_from_ct: tuple[Float64[Tensor, '4 4'], ...]
    covariance: Float64[Tensor, '6 6']
    centre_lps_mm: Float64[Tensor, '3']
    termination: TerminationReason
    similarity_before: float
    similarity_after: float
    iterations: int
    timings_s: dict[str, float]
    checks: tuple[Check, ...]
    verdict: Verdict
    warnings: tuple[str, ...]
    backend: str
    method: str
    similarity: str
    runner_up: RunnerUp | None
