"""Tracking: the pose of every frame of a stream, from that of the frame before.

A frame is followed at one coarse level in a few steps and judged by light checks. They compare it
with the last frame that passed all checks of a registration, so what they say is worth as much as
the chain of frames that leads back to that one.

With bodies, every frame is registered with all checks, each body from where it was VERIFIED last.
"""

import math
from dataclasses import dataclass, replace
from time import perf_counter

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.errors import ErrorCode, RegistrationError, SolverError
from sph_reg_ros.geometry import se3, so3
from sph_reg_ros.geometry.box import mean_distance_mm
from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.imaging.bodies.body import Bodies
from sph_reg_ros.registration.attempt import depth_warnings
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.course import Observer
from sph_reg_ros.registration.error_parts import ErrorParts
from sph_reg_ros.registration.frame_views import Frame, FrameViews
from sph_reg_ros.registration.gate.bound import bound_of, check_bound
from sph_reg_ros.registration.gate.targets import target_points
from sph_reg_ros.registration.gate.verify import verdict_of
from sph_reg_ros.registration.gate_limits import (
    FLOOR_MM,
    MAX_DISPLACEMENT_MM,
    MAX_REMAINING_MM,
    MIN_SHARE_OF_PATCHES,
)
from sph_reg_ros.registration.networks import Networks
from sph_reg_ros.registration.prepared_view import ViewMaker
from sph_reg_ros.registration.register import register
from sph_reg_ros.registration.request import (
    RegistrationRequest,
    placed_bodies,
    placed_volume,
)
from sph_reg_ros.registration.result import Check, RegistrationResult, Verdict, Verification
from sph_reg_ros.registration.track_fit import Fit, fit
from sph_reg_ros.registration.tracking_config import TrackingConfig
from sph_reg_ros.registration.view import View
from sph_reg_ros.rendering.cpu.threads import one_torch_thread

METHOD = 'tracking'
"""What results call the method of frames that were followed."""
MOST_STEPS = 3
"""Frames that may be missing and the patient still be expected to have moved on as before."""
SEARCHES = 3
"""Registrations in a row around the last known place, before one as if nothing were known of it."""
REFUSALS = 2
"""Frames in a row that do not pass all checks before the patient is searched for again."""
ERROR_PER_SIGMA = 2.5
"""True errors of followed frames beside the covariance's."""
_DOUBT = (Verdict.UNVERIFIED, ErrorCode.POSE_UNCERTAIN)
_AGAINST = (Verdict.REJECTED, ErrorCode.SIMILARITY_TOO_LOW)


@dataclass(frozen=True)
class _Place:
    """Where the patient or a body was: pose, time, and the imager's pose if it is known."""

    camera_from_ct: Float64[Tensor, '4 4']
    time_s: float
    fixed_from_camera: Float64[Tensor, '4 4'] | None

    def seen_by(self, frame: Frame) -> Float64[Tensor, '4 4']:
        """Return the pose in a frame if the patient has not moved."""
        if self.fixed_from_camera is None or frame.fixed_from_camera is None:
            return self.camera_from_ct
        moved = se3.inverse(frame.fixed_from_camera) @ self.fixed_from_camera
        return moved @ self.camera_from_ct


@dataclass(frozen=True)
class _Anchor:
    """A frame that passed all checks.

    Attributes:
        fit: of it at the coarse level.
        correction: twist from there to the pose that passed all checks, camera axes: what the
            coarse level gets wrong hardly changes from frame to frame.
        estimate: estimated error of that pose.
    """

    fit: Fit
    correction: Float64[Tensor, '6']
    estimate: ErrorParts


@dataclass(frozen=True)
class _Followed:
    """A frame that was followed: fit, corrected pose, and by how much it was expected elsewhere."""

    frame: Frame
    fit: Fit
    pose: Float64[Tensor, '4 4']
    jump_mm: float
    gap_s: float


@dataclass
class _Chain:
    """Frames that each passed the light checks, one after the other.

    Attributes:
        since_passed: how many, since one that passed all checks; None if none did.
        since_begun: the same since the one whose full checks were begun last.
    """

    since_passed: int | None = None
    since_begun: int | None = None

    def grow(self) -> None:
        """Count a frame."""
        if self.since_passed is not None:
            self.since_passed += 1
        if self.since_begun is not None:
            self.since_begun += 1


class Tracker:
    """Follows one CT through the frames of one imager.

    Attributes:
        config: settings of registrations and checks.
        views: makes the views.
    """

    def __init__(
        self,
        volume: AttenuationVolume,
        make_view: ViewMaker,
        config: RegistrationConfig | None = None,
        tracking: TrackingConfig | None = None,
        networks: Networks | None = None,
        bodies: Bodies | None = None,
    ) -> None:
        """Know no pose yet.

        Args:
            volume: CT.
            make_view: what the pixels are.
            config: of the registrations that begin a chain, find a lost patient, and check.
            tracking: of the frames between.
            networks: see RegistrationRequest.
            bodies: see RegistrationRequest.
        """
        self.config, self._limits = config or RegistrationConfig(), tracking or TrackingConfig()
        self._volume, self._networks = placed_volume(volume, self.config), networks
        self.views, self._targets = FrameViews(make_view), target_points(volume)
        self._bodies = None if bodies is None else placed_bodies(bodies, self.config)
        self._places: list[_Place] = []
        # Of those that were VERIFIED in the frame before.
        self._body_places: dict[str, _Place] = {}
        self._latest: _Followed | None = None
        self._anchor: _Anchor | None = None
        self._chain = _Chain()
        # Frames in a row that did not pass all checks, and that were registered in vain.
        self._refused = self._in_vain = 0

    @property
    def full_checks_due(self) -> bool:
        """Return whether the latest frame ought to be checked in full."""
        if self._latest is None:
            return False
        since = self._chain.since_begun
        return since is None or since >= self._limits.full_checks_every

    def track(self, frame: Frame, observer: Observer | None = None) -> RegistrationResult:
        """Return the pose of the next frame, checked in full where that is due.

        Args:
            frame: newer than those before.
            observer: see `register`.

        Raises:
            RegistrationError: as `register` does; the chain of frames ends with it.
        """
        followed = self.follow(frame, observer)
        checked = self.check_latest(observer) if self.full_checks_due else None
        return checked or followed

    @one_torch_thread()
    def follow(self, frame: Frame, observer: Observer | None = None) -> RegistrationResult:
        """Return the pose of the next frame, by light checks if it can be followed.

        Where it cannot, because no frame before tells where it may be, or the light checks find
        that it does not, it is registered, which takes far longer. Raises as `track` does.
        """
        begun_s = perf_counter()
        unknown = not self._places or self._refused >= REFUSALS
        try:
            if unknown or self._bodies is not None:
                return self._registered(frame, observer)
            followed = self._followed(frame)
            checks = self._light_checks(followed)
            if any(check.verdict == Verdict.REJECTED for check in checks):
                return self._registered(frame, observer)
        except SolverError:
            return self._registered(frame, observer)
        except RegistrationError:
            self._break()
            raise
        if not all(check.passed for check in checks):
            self._break()
        self._note(followed)
        return self._result(followed, (*checks, self._chain_check()), perf_counter() - begun_s)

    @one_torch_thread()
    def check_latest(self, observer: Observer | None = None) -> RegistrationResult | None:
        """Register the latest frame from its own pose, with all checks; None if there is none.

        Args:
            observer: see `register`; it may `follow` newer frames meanwhile. They are VERIFIED by
                these checks once they are passed, if the chain of frames leads back here.
        """
        latest, chain = self._latest, self._chain
        if latest is None:
            return None
        chain.since_begun = 0
        request = self._request(latest.frame, self.views.whole(latest.frame), latest.pose)
        config = replace(self.config, method='image', starts=0)
        try:
            result = register(replace(request, config=config), observer)
        except SolverError:
            self._refuse(chain)
            return None
        moved_mm = mean_distance_mm(result.camera_from_ct[0], latest.pose, self._targets)
        if result.verdict != Verdict.VERIFIED or moved_mm > self._limits.max_correction_mm:
            self._refuse(chain)
        elif chain is self._chain:
            self._refused = 0
            self._anchor = self._anchored(latest.fit, result)
            chain.since_passed = chain.since_begun
        return result

    def _refuse(self, chain: '_Chain') -> None:
        """Break a chain of which a frame did not pass all checks, unless another one has begun."""
        if chain is self._chain:
            self._break()
            self._refused += 1

    def _followed(self, frame: Frame) -> _Followed:
        last = self._places[-1]
        gap_s = frame.time_s - last.time_s
        is_long = not 0 < gap_s <= self._limits.max_gap_s
        if is_long:
            self._break()
        start = self._expected(frame, gap_s, is_long)
        found = fit(
            self._request(frame, self._small(frame), start),
            self._limits.levels_after_gap if is_long else (self._limits.level,),
            self._limits.max_iterations,
        )
        pose = found.pose
        if self._anchor is not None:
            pose = se3.apply_twist(self._anchor.correction, pose, self._volume.centre)
        jump_mm = float(mean_distance_mm(pose, start, self._targets))
        return _Followed(frame, found, pose, jump_mm, gap_s)

    def _small(self, frame: Frame) -> View:
        return self.views.small(frame, 2 * self._limits.level)

    def _expected(self, frame: Frame, gap_s: float, is_long: bool) -> Float64[Tensor, '4 4']:
        """Return where the patient is if he moves on as before; where he was after a long gap."""
        stopped = self._places[-1].seen_by(frame)
        if len(self._places) < 2 or is_long:
            return stopped
        before, last = self._places
        steps = min(MOST_STEPS, round(gap_s / max(last.time_s - before.time_s, 1e-6)))
        moved = stopped @ se3.inverse(before.seen_by(frame))
        ahead = torch.linalg.matrix_power(moved, steps) @ stopped
        # Rounding would double from frame to frame.
        U, _, V_t = torch.linalg.svd(ahead[:3, :3])
        return se3.from_parts(U @ V_t, ahead[:3, 3])

    def _twist(
        self, start: Float64[Tensor, '4 4'], end: Float64[Tensor, '4 4']
    ) -> Float64[Tensor, '6']:
        """Return the turn, and the shift of the anatomy's centre, that lead to another pose."""
        turn = so3.log(end[:3, :3] @ start[:3, :3].T)
        here, there = (se3.transform_points(p, self._volume.centre[None])[0] for p in (start, end))
        shift = so3.left_jacobian_inverse(turn) @ (there - here)
        return torch.cat([turn, shift])

    def _anchored(self, found: Fit, result: RegistrationResult) -> _Anchor:
        twist = self._twist(found.pose, result.camera_from_ct[0])
        return _Anchor(found, twist, result.verification.estimate)

    def _light_checks(self, followed: _Followed) -> tuple[Check, ...]:
        found, limits = followed.fit, self._limits
        patches, expected = found.patches, limits.slack_mm + limits.max_speed_mm_s * followed.gap_s
        displacement_mm = MAX_DISPLACEMENT_MM
        if self._anchor is not None:
            # Coarse patches of a right pose may lie farther off than those of finer levels.
            usual_mm = self._anchor.fit.patches.displacement_mm
            displacement_mm = max(displacement_mm, limits.max_misfit * usual_mm)
        checks = [
            Check.at_most(
                'remaining_step_mm',
                found.remaining.asked(self.config.verdict_for),
                MAX_REMAINING_MM,
                (Verdict.REJECTED, ErrorCode.NOT_CONVERGED),
            ),
            Check.at_most('jump_mm', followed.jump_mm, expected, _AGAINST),
            Check.at_most(
                'patch_displacement_mm', patches.displacement_mm, displacement_mm, _AGAINST
            ),
            Check.at_least('agreeing_patches', patches.share, MIN_SHARE_OF_PATCHES, _AGAINST),
        ]
        if self._anchor is not None:
            misfit = found.misfit / max(self._anchor.fit.misfit, 1e-6)
            checks.append(Check.at_most('misfit', misfit, limits.max_misfit, _AGAINST))
        checks += check_bound(bound_of(self._estimated_error(found)), self.config)
        return tuple(checks)

    def _estimated_error(self, found: Fit) -> ErrorParts:
        """Return the estimated rms error over the region of interest; see bench/track.py."""
        if self._anchor is None:
            return ErrorParts.all_of(math.inf)
        parts = found.sigma, found.remaining, self._anchor.estimate
        return ErrorParts.combined(
            lambda sizes: math.hypot(ERROR_PER_SIGMA * sizes[0], *sizes[1:], FLOOR_MM), parts
        )

    def _chain_check(self) -> Check:
        since = self._chain.since_passed
        figure = math.inf if since is None else float(since)
        return Check.at_most('frames_since_full_checks', figure, self._limits.max_frames, _DOUBT)

    def _note(self, followed: _Followed) -> None:
        self._latest = followed
        self._chain.grow()
        self._move_on(followed.frame, followed.pose)

    def _move_on(self, frame: Frame, pose: Float64[Tensor, '4 4']) -> None:
        place = _Place(pose, frame.time_s, frame.fixed_from_camera)
        self._places = [*self._places[-1:], place]

    def _break(self) -> None:
        """End the chain: frames have to pass all checks before light ones count again."""
        self._chain, self._latest = _Chain(), None

    def _registered(self, frame: Frame, observer: Observer | None) -> RegistrationResult:
        """Return what a registration makes of a frame, from the last known place if any."""
        self._break()
        self._refused = 0
        self.views.forget_field()
        view = self.views.whole(frame)
        start = frame.initial_camera_from_ct
        if self._places and self._in_vain < SEARCHES:
            start = self._places[-1].seen_by(frame)
        result = register(self._request(frame, view, start), observer)
        self._body_places = {
            body.name: _Place(body.camera_from_body[0], frame.time_s, frame.fixed_from_camera)
            for body in result.bodies
            if body.verdict == Verdict.VERIFIED
        }
        if result.verdict != Verdict.VERIFIED:
            self._in_vain += 1
            return result
        self._places, self._in_vain = [], 0
        self._move_on(frame, result.camera_from_ct[0])
        if self._bodies is None:
            self._begin_chain(frame, result)
        return result

    def _begin_chain(self, frame: Frame, result: RegistrationResult) -> None:
        """Follow from a frame that passed all checks, if the coarse level finds its pose, too."""
        pose = result.camera_from_ct[0]
        try:
            small = self._request(frame, self._small(frame), pose)
            found = fit(small, (self._limits.level,), self._limits.max_iterations)
        except RegistrationError:
            return
        if mean_distance_mm(found.pose, pose, self._targets) <= self.config.max_tre_mm:
            self._anchor, self._chain = self._anchored(found, result), _Chain(0, 0)

    def _request(
        self, frame: Frame, view: View, start: Float64[Tensor, '4 4'] | None
    ) -> RegistrationRequest:
        places = [self._body_places.get(body.name) for body in self._bodies or ()]
        return RegistrationRequest(
            self._volume,
            (view,),
            start,
            self.config,
            networks=self._networks,
            bodies=self._bodies,
            initial_bodies=tuple(p.seen_by(frame) if p else None for p in places) or None,
        )

    def _result(
        self, followed: _Followed, checks: tuple[Check, ...], seconds: float
    ) -> RegistrationResult:
        found = followed.fit
        estimate = self._estimated_error(found)
        return RegistrationResult(
            camera_from_ct=(followed.pose,),
            covariance=found.covariance,
            centre_lps_mm=self._volume.centre,
            termination=found.termination,
            similarity_before=found.similarity_before,
            similarity_after=found.similarity,
            iterations=found.iterations,
            timings_s={METHOD: seconds},
            verification=Verification(
                verdict_of(checks),
                checks,
                estimate,
                bound_of(estimate),
                tuple(found.errors.along.tolist()),
                self.config.verdict_for,
            ),
            warnings=(*self._volume.doubts, *depth_warnings(1, self.config)),
            backend=found.backend,
            method=METHOD,
            similarity=self.config.similarity,
            runner_up=None,
            frames_since_full_checks=self._chain.since_passed,
            device=str(self._volume.device),
        )
