"""What a registration answers."""

import math
from dataclasses import dataclass, replace
from enum import IntEnum

from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.errors import ErrorCode
from sph_reg_ros.registration.error_parts import UNKNOWN_ERROR, ErrorParts, VerdictFor
from sph_reg_ros.registration.moved_part import MovedPart
from sph_reg_ros.registration.reasons import Finding, InputDoubt, failures, finding_of
from sph_reg_ros.registration.suggested_view import SuggestedView
from sph_reg_ros.solvers import TerminationReason


class Verdict(IntEnum):
    """What may be done with a pose; the numbers are those of msg/RegistrationResult.msg.

    UNVERIFIED: there is not enough evidence for it. VERIFIED: every check passed. REJECTED: there
    is evidence against it. Neither of the others may be used.
    """

    UNVERIFIED = 0
    VERIFIED = 1
    REJECTED = 2


@dataclass(frozen=True)
class Check:
    """One figure that was compared with its limit.

    Attributes:
        name: what was checked.
        value: the figure; NaN if it could not be computed.
        limit: what it was compared with.
        verdict: VERIFIED if it passed, UNVERIFIED if it leaves doubt, REJECTED if it speaks against
            the pose.
        reason: what it means that it did not pass; NONE if it did.
        found: what was found, in words, where the figure says it less well; else ''.
    """

    name: str
    value: float
    limit: float
    verdict: Verdict
    reason: ErrorCode
    found: str = ''

    @classmethod
    def at_most(
        cls,
        name: str,
        value: float,
        limit: float,
        otherwise: tuple[Verdict, ErrorCode],
        found: str = '',
    ) -> 'Check':
        """Compare with an upper limit; NaN does not pass."""
        return replace(cls._decided(name, value, limit, value <= limit, otherwise), found=found)

    @classmethod
    def at_least(
        cls, name: str, value: float, limit: float, otherwise: tuple[Verdict, ErrorCode]
    ) -> 'Check':
        """Compare with a lower limit; NaN does not pass."""
        return cls._decided(name, value, limit, value >= limit, otherwise)

    @classmethod
    def _decided(
        cls, name: str, value: float, limit: float, good: bool, otherwise: tuple[Verdict, ErrorCode]
    ) -> 'Check':
        verdict, reason = (Verdict.VERIFIED, ErrorCode.NONE) if good else otherwise
        return cls(name, value, limit, verdict, reason)

    @property
    def passed(self) -> bool:
        """Return whether the figure keeps to its limit."""
        return self.verdict == Verdict.VERIFIED


@dataclass(frozen=True)
class Verification:
    """What the evidence says of a pose.

    Attributes:
        verdict: REJECTED if a check rejects, else UNVERIFIED if one leaves doubt, else VERIFIED.
        checks: all of them, whatever came of each.
        estimate: estimated target registration error over the region of interest, rms.
        bound: that the true one keeps to in 95 % of all cases, each part by itself.
        along: the direction that both are split by, a unit vector in the first camera's axes: the
            beam through the middle of the region; with several views, the direction in which the
            pose is known worst. NaN if nothing is known.
        verdict_for: what the verdict is for; what else there is may be wrong by its bound.
        moved: what has moved by itself, the largest shift first.
    """

    verdict: Verdict
    checks: tuple[Check, ...]
    estimate: ErrorParts = UNKNOWN_ERROR
    bound: ErrorParts = UNKNOWN_ERROR
    along: tuple[float, ...] = (math.nan, math.nan, math.nan)
    verdict_for: VerdictFor = VerdictFor.POSE
    moved: tuple[MovedPart, ...] = ()

    @property
    def tre_rms_mm(self) -> float:
        """Return all of the estimated error."""
        return self.estimate.total_mm

    @property
    def tre_p95_mm(self) -> float:
        """Return the bound on all of the error."""
        return self.bound.total_mm

    @property
    def reservation(self) -> str:
        """Return what a VERIFIED pose is not verified for, a sentence; '' if it is for all."""
        if self.verdict != Verdict.VERIFIED or self.verdict_for == VerdictFor.POSE:
            return ''
        known, unknown, size_mm = 'across', 'along', self.bound.along_mm
        if self.verdict_for == VerdictFor.ALONG_BEAM:
            known, unknown, size_mm = 'along', 'across', self.bound.across_mm
        return (
            f'VERIFIED for the position {known} the beam only: {unknown} it, the pose may be wrong '
            f'by {size_mm:.1f} mm (bound in 95 % of cases)'
        )

    @property
    def reasons(self) -> tuple[ErrorCode, ...]:
        """Return why it is not verified, the most fundamental first; empty if it is."""
        return tuple(dict.fromkeys(check.reason for check in failures(self.checks)))


@dataclass(frozen=True)
class Progress:
    """State of a running registration, handed to an observer again and again.

    Attributes:
        stage: name of the pipeline step: prepare, search, networks, refine or verify, the last
            three with the height of the images in pixels.
        iteration: solver steps so far by networks or by images; the checks add none.
        loss: 1 - similarity now; 1 before anything was compared, that of the pose during the
            checks.
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
class BodyResult:
    """The pose of one body, how sure it is, and how far the body has moved.

    Attributes:
        name: of the body.
        frame: as in Body.
        camera_from_body: one rigid transform [4, 4] a view, body (mm) to camera (mm).
        moved_from_rest: [4, 4]; maps where a point of the body lay in the CT to where it is now,
            both in CT coordinates (mm) of `RegistrationResult.camera_from_ct`.
        covariance: [6, 6] of the twist (omega in rad, v in mm) in the camera axes of the first
            view, about `centre_mm`, by the X-rays alone.
        centre_mm: the middle of the body [3] that twists turn about, body coordinates.
        rotation_rad: angle of the body's turn.
        translation_mm: how far the body's middle has moved.
        verification: verdict, checks, bound on the error over the body.
    """

    name: str
    frame: str | None
    camera_from_body: tuple[Float64[Tensor, '4 4'], ...]
    moved_from_rest: Float64[Tensor, '4 4']
    covariance: Float64[Tensor, '6 6']
    centre_mm: Float64[Tensor, '3']
    rotation_rad: float
    translation_mm: float
    verification: Verification

    @property
    def verdict(self) -> Verdict:
        """Return what may be done with the pose."""
        return self.verification.verdict

    @property
    def finding(self) -> Finding | None:
        """Return the most fundamental reason why the pose is not verified; None if it is."""
        return finding_of(self.verification.checks)


@dataclass(frozen=True)
class RegistrationResult:
    """The pose, how sure it is, and how it was found.

    Attributes:
        camera_from_ct: one rigid transform [4, 4] a view, CT (LPS mm) to camera (mm).
        covariance: [6, 6] of the twist (omega in rad, v in mm) in the camera axes of the first
            view, about `centre_lps_mm`, by the X-rays alone.
        centre_lps_mm: the anatomy centre [3] that twists turn about, CT coordinates.
        termination: why the solver stopped.
        similarity_before: mean similarity of the views at the initial pose, or at that of networks
            or a search, at a coarse level; -1 if the CT is not in view there.
        similarity_after: the same at the final pose, at the last level.
        iterations: accepted and refused solver steps, all starts and levels together.
        timings_s: seconds a step, by its name.
        verification: verdict, checks, bound on the error.
        warnings: things the caller should know.
        backend: the renderer that was used.
        device: where it was computed, such as cpu or cuda:0.
        next_view: X-ray that would make the pose most certain; None unless it is too uncertain,
            and nothing else speaks against it.
        bodies: one a body of the request, in its order; () where the CT is one rigid body. With
            bodies, everything else here speaks of the rest.
        method: as in RegistrationConfig.
        similarity: as in RegistrationConfig.
        runner_up: None if the search was off or led to one optimum only.
        doubts: as in RegistrationRequest.
        frames_since_full_checks: 0 where this X-ray was checked in full. Else it was followed from
            the X-ray before and checked lightly (`track`), and so many X-rays ago one was checked
            in full; None if no chain of followed X-rays leads back to one.
    """

    camera_from_ct: tuple[Float64[Tensor, '4 4'], ...]
    covariance: Float64[Tensor, '6 6']
    centre_lps_mm: Float64[Tensor, '3']
    termination: TerminationReason
    similarity_before: float
    similarity_after: float
    iterations: int
    timings_s: dict[str, float]
    verification: Verification
    warnings: tuple[str, ...]
    backend: str
    method: str
    similarity: str
    runner_up: RunnerUp | None
    doubts: tuple[InputDoubt, ...] = ()
    frames_since_full_checks: int | None = 0
    device: str = 'cpu'
    bodies: tuple[BodyResult, ...] = ()
    next_view: SuggestedView | None = None

    @property
    def reservations(self) -> tuple[str, ...]:
        """Return what VERIFIED poses are not verified for, a sentence for the CT and each body."""
        bodies = ((f'body {body.name}: ', body.verification) for body in self.bodies)
        all_of = (('', self.verification), *bodies)
        return tuple(name + one.reservation for name, one in all_of if one.reservation)

    @property
    def verdict(self) -> Verdict:
        """Return what may be done with the pose."""
        return self.verification.verdict

    @property
    def checks(self) -> tuple[Check, ...]:
        """Return what was compared."""
        return self.verification.checks

    @property
    def finding(self) -> Finding | None:
        """Return the most fundamental reason why the pose is not verified; None if it is."""
        return finding_of(self.checks, self.doubts)
