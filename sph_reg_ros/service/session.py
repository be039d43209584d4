"""Carries out requests: loads CTs and registers views; the only part of the service with torch."""

import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sph_reg_ros.errors import CTError, ErrorCode
from sph_reg_ros.evaluation.overlay import overlay
from sph_reg_ros.evaluation.result_overlay import draw_moved, result_overlay
from sph_reg_ros.geometry import Camera
from sph_reg_ros.imaging.attenuation import AttenuationVolume, attenuation_from_hounsfield
from sph_reg_ros.imaging.bodies.body import Bodies
from sph_reg_ros.imaging.bodies.labels import LabelMap
from sph_reg_ros.imaging.load import list_series, load_ct
from sph_reg_ros.imaging.load_bodies import load_bodies, load_labels
from sph_reg_ros.imaging.xray.intensity import IntensityModel, offset_warning
from sph_reg_ros.messages.conversions import covariance_of_centre
from sph_reg_ros.networks.shipped import weights_folders
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.course import Observer
from sph_reg_ros.registration.frame_views import Frame
from sph_reg_ros.registration.networks import Networks, find_networks
from sph_reg_ros.registration.prepared_view import ViewMaker
from sph_reg_ros.registration.register import register
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.result import (
    BodyResult,
    Check,
    Progress,
    RegistrationResult,
    Verification,
)
from sph_reg_ros.registration.search_widths import with_widths_of
from sph_reg_ros.registration.target import Target, find_target
from sph_reg_ros.registration.track import Tracker
from sph_reg_ros.registration.view import View
from sph_reg_ros.rendering.device import chosen_device, device_text
from sph_reg_ros.rendering.render import render
from sph_reg_ros.service import protocol
from sph_reg_ros.service.allowed_paths import AllowedPaths
from sph_reg_ros.service.load_self_test import self_tests
from sph_reg_ros.service.parameters import ImageParameters
from sph_reg_ros.service.protocol import ProgressReport, Reply, Request
from sph_reg_ros.service.warm_up import warm_up

Report = Callable[[ProgressReport], None]
NOT_LOOKED_FOR = 'method was image when the CT was loaded: load it again to look for networks'


class RegistrationSession:
    """A loaded CT with its networks, and registrations of it."""

    def __init__(self, *, checks_later: bool = False) -> None:
        """Start without a CT.

        Args:
            checks_later: all checks of a followed X-ray are made by `check_frame`, else at once.
        """
        # The renderer uses all cores by itself. Torch's many small steps gain 15 % from a second
        # one, but take three times as long when another process needs that core.
        torch.set_num_threads(1)
        self._volume: AttenuationVolume | None = None
        self._bodies: Bodies | None = None
        self._labels: LabelMap | None = None
        self._energy_kev = 60.0
        self._targets: dict[str, Target | None] = {}
        self._networks: Networks | None = None
        self._looked_for_networks = False
        self._series_uid_hash = ''
        self._checks_later = checks_later
        self._tracker: Tracker | None = None
        self._tracks: tuple[object, ...] = ()

    def handle(self, request: Request, report: Report) -> Reply:
        """Carry out one request; raises RegistrationError."""
        match request:
            case protocol.Ready():
                return protocol.Done()
            case protocol.LoadCT():
                return self._load_ct(request)
            case protocol.ListSeries():
                series = list_series(Path(request.path))
                return protocol.SeriesListed(tuple(str(entry) for entry in series))
            case protocol.Register():
                return self._register(request, report)

    @property
    def volume(self) -> AttenuationVolume:
        """Return the loaded CT; raises CTError CT_NOT_LOADED."""
        if self._volume is None:
            raise CTError(ErrorCode.CT_NOT_LOADED, 'no CT is loaded: set ct.path or call ~/load_ct')
        return self._volume

    @property
    def bodies(self) -> Bodies | None:
        """Return what moves for itself; None: the CT is one body."""
        return self._bodies

    def _load_ct(self, request: protocol.LoadCT) -> protocol.CTLoaded:
        ct = load_ct(
            Path(request.path),
            series_uid=request.series_uid or None,
            assume_lps=request.assume_lps,
        )
        networks = None
        if request.weights is not None:
            own = Path(request.weights) if request.weights else None
            networks = find_networks(ct.content_hash, weights_folders(own))
        device = chosen_device(request.device, request.backend or 'auto')
        volume = attenuation_from_hounsfield(ct, request.energy_kev)
        bodies = _load_bodies(request, volume)
        labels = load_labels(Path(request.labels)) if request.labels else None
        volume = volume.to(device)
        if request.backend is not None:
            warm_up(volume, networks, request.backend, request.device)
        tested, doubts = _self_tests(request, volume) if request.self_test else ((), ())
        # All at once and last: what fails before leaves the present CT as it is.
        self._volume, self._networks, self._tracker = volume, networks, None
        self._bodies, self._labels = bodies, labels
        self._energy_kev, self._targets = request.energy_kev, {}
        self._looked_for_networks = request.weights is not None
        self._series_uid_hash = ct.series_uid_hash
        name = networks.name if networks else ''
        return protocol.CTLoaded(
            ct.series_uid_hash,
            volume.shape,
            volume.spacing_mm,
            name,
            volume.doubts + (() if bodies is None else bodies.notes) + doubts,
            device_text(device),
            tested,
        )

    def _register(self, request: protocol.Register, report: Report) -> protocol.Registered:
        begun_s = time.perf_counter()

        def observe(progress: Progress) -> None:
            report(ProgressReport(**vars(progress)))

        config, clipped = self._config(request)
        view: View | None
        # One that is followed is judged as a whole.
        if request.frame is None or request.target:
            asked = self._build_request(request, config)
            result, view = register(asked, observe), asked.views[0]
        else:
            result, view = self._followed(request, request.frame, config, observe)
        compute_s = time.perf_counter() - begun_s
        drr = picture = None
        if view is not None and (request.drr or request.overlay):
            drr = self._rendered(view, result)
        if view is not None and drr is not None and request.overlay:
            picture = self._overlay(view, drr, result)
        return protocol.Registered(
            ct_series_uid_hash=self._series_uid_hash,
            camera_from_ct=tuple(pose.numpy() for pose in result.camera_from_ct),
            covariance=result.covariance.numpy(),
            centre_lps_mm=result.centre_lps_mm.numpy(),
            termination=int(result.termination),
            verdict=int(result.verdict),
            similarity_before=result.similarity_before,
            similarity_after=result.similarity_after,
            iterations=result.iterations,
            compute_s=compute_s,
            checks=tuple(map(_reported, result.checks)),
            warnings=(*result.reservations, *result.warnings, *clipped, *self._warnings(request)),
            method=result.method,
            backend=result.backend,
            device=result.device,
            runner_up_mm=result.runner_up.distance_mm if result.runner_up else math.nan,
            **_error_fields(result.verification),
            doubts=result.doubts,
            frames_since_full_checks=result.frames_since_full_checks,
            drr=drr.float().numpy() if drr is not None and request.drr else None,
            overlay=picture,
            bodies=tuple(map(_body_report, result.bodies)),
            target=request.target,
            moved=result.verification.moved,
            next_view=result.next_view,
        )

    def _rendered(self, view: View, result: RegistrationResult) -> torch.Tensor:
        """Return the line integrals of the CT, or of bodies and rest, where they were found."""
        rest = self.volume if self._bodies is None else self._bodies.rest
        placed = [] if rest is None else [(rest, result.camera_from_ct[0])]
        if self._bodies is not None:
            found = zip(self._bodies, result.bodies, strict=True)
            placed += [(body.volume, one.camera_from_body[0]) for body, one in found]
        camera, drr = view.camera, torch.zeros(view.camera.size)
        for volume, pose in placed:
            moved = volume if str(volume.device) == result.device else volume.to(result.device)
            drr += render(moved, pose, camera.K, camera.size, backend=result.backend).cpu()
        return drr

    def _overlay(self, view: View, drr: torch.Tensor, result: RegistrationResult) -> np.ndarray:
        if self._bodies is None:
            picture = overlay(view.line_integrals.numpy(), drr.float().numpy())
            draw_moved(picture, result.verification.moved)
            return picture
        return result_overlay(view, self.volume, self._bodies, result)

    def check_frame(self, answer: Callable[[], None]) -> None:
        """Make all checks of the X-ray that was followed last, if they are due.

        Args:
            answer: called often; it may have newer X-rays followed meanwhile, which take no more
                than half of the time.
        """
        tracker, answer = self._tracker, with_pauses(answer)
        if tracker is not None and tracker.full_checks_due:
            try:
                tracker.check_latest(lambda progress: answer())
            # Whatever broke the checks of one X-ray: the next one is registered.
            except Exception:
                if self._tracker is tracker:
                    self._tracker = None

    def _config(self, request: protocol.Register) -> tuple[RegistrationConfig, tuple[str, ...]]:
        """Return the settings, as the initial pose's covariance wants them, and warnings."""
        start, covariance = request.initial_camera_from_ct, request.initial_covariance
        if start is None or covariance is None:
            return request.config, ()
        carried = covariance_of_centre(start, covariance, self.volume.centre.numpy())
        return with_widths_of(request.config, torch.from_numpy(carried))

    def _build_request(
        self, request: protocol.Register, config: RegistrationConfig
    ) -> RegistrationRequest:
        """Return what is to be registered."""
        return RegistrationRequest(
            self.volume,
            tuple(prepare_view(view, self._image(request)) for view in request.views),
            _tensor(request.initial_camera_from_ct),
            config,
            networks=self._networks,
            bodies=self._bodies,
            target=self._target(request.target),
        )

    def _target(self, name: str) -> Target | None:
        """Return what a verdict is to be about; to cut it out of the CT takes a moment, once."""
        if name not in self._targets:
            self._targets[name] = find_target(
                name, self.volume, self._labels, self._bodies, self._energy_kev
            )
        return self._targets[name]

    def _image(self, request: protocol.Register) -> ImageParameters:
        """Return how X-rays are read: what is clipped behind metal tells where that is."""
        opaque = self._bodies is not None and self._bodies.has_metal
        return replace(request.image, mask_saturation=False) if opaque else request.image

    def _followed(
        self,
        request: protocol.Register,
        frame: protocol.StreamFrame,
        config: RegistrationConfig,
        observe: Observer,
    ) -> tuple[RegistrationResult, View | None]:
        """Return the pose of a frame, and a view for pictures if they are asked for."""
        tracks = (frame.stream, request.image, frame.tracking)
        if self._tracker is None or self._tracks != tracks:
            maker = view_maker(self._image(request))
            self._tracker = Tracker(
                self.volume, maker, config, frame.tracking, self._networks, self._bodies
            )
            self._tracks = tracks
        tracker, view = self._tracker, request.views[0]
        tracker.config = config
        seen = Frame(
            torch.from_numpy(view.pixels.astype(np.float32)),
            Camera(torch.from_numpy(view.K), *view.pixels.shape),
            frame.time_s,
            view.lens,
            _tensor(view.fixed_from_camera),
            _tensor(request.initial_camera_from_ct),
        )
        follow = tracker.follow if self._checks_later else tracker.track
        result = follow(seen, observe)
        return result, tracker.views.whole(seen) if request.overlay or request.drr else None

    def _warnings(self, request: protocol.Register) -> tuple[str, ...]:
        late = request.config.method != 'image' and not self._looked_for_networks
        model = IntensityModel(request.image.intensity, request.image.i0 or None)  # type: ignore[arg-type]
        return tuple([NOT_LOOKED_FOR] if late else []) + tuple(
            text
            for view in request.views
            for text in offset_warning(torch.from_numpy(view.pixels.astype(np.float32)), model)
        )


def with_pauses(answer: Callable[[], None]) -> Callable[[], None]:
    """Return a function that calls another one, but not again before as much time as it took.

    X-rays that come faster than they are followed would leave no time for the checks.
    """
    free_s = 0.0

    def call() -> None:
        nonlocal free_s
        begun_s = time.perf_counter()
        if begun_s >= free_s:
            answer()
            ended_s = time.perf_counter()
            free_s = ended_s + (ended_s - begun_s)

    return call


def prepare_view(view: protocol.RegisterView, image: ImageParameters) -> View:
    """Turn raw pixels into line integrals and mask what measures nothing.

    Raises:
        ImageError: NaN or infinite pixels, or too little left to compare.
        CameraError: the distortion makes no sense.
    """
    pixels = torch.from_numpy(view.pixels.astype(np.float32))
    return view_maker(image)(
        pixels,
        Camera(torch.from_numpy(view.K), *pixels.shape),
        lens=view.lens,
        fixed_from_camera=_tensor(view.fixed_from_camera),
    )


def view_maker(image: ImageParameters) -> ViewMaker:
    """Return what makes views of raw pixels."""
    return ViewMaker(
        IntensityModel(image.intensity, image.i0 or None, image.bright_air != 'false'),  # type: ignore[arg-type]
        polarity_given=image.bright_air != 'auto',
        mask_saturation=image.mask_saturation,
        mask_collimator=image.mask_collimator,
    )


def _tensor(matrix: np.ndarray | None) -> torch.Tensor | None:
    return None if matrix is None else torch.from_numpy(matrix)


def _self_tests(
    request: protocol.LoadCT, volume: AttenuationVolume
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    config = RegistrationConfig(backend=request.backend or 'auto', device=request.device)
    return self_tests(Path(request.path), request.series_uid or None, volume, config)


def _load_bodies(request: protocol.LoadCT, volume: AttenuationVolume) -> Bodies | None:
    if not request.bodies:
        return None
    if request.allowed is None:
        return load_bodies(Path(request.bodies), volume, energy_kev=request.energy_kev)
    paths = AllowedPaths(request.allowed, ())

    def permit(path: Path) -> Path:
        return Path(paths.require(str(path.resolve())))

    return load_bodies(
        permit(Path(request.bodies)), volume, energy_kev=request.energy_kev, permit=permit
    )


def _body_report(body: BodyResult) -> protocol.BodyReport:
    return protocol.BodyReport(
        name=body.name,
        frame=body.frame,
        camera_from_body=tuple(pose.numpy() for pose in body.camera_from_body),
        moved_from_rest=body.moved_from_rest.numpy(),
        covariance=body.covariance.numpy(),
        centre_mm=body.centre_mm.numpy(),
        rotation_rad=body.rotation_rad,
        translation_mm=body.translation_mm,
        verdict=int(body.verdict),
        checks=tuple(map(_reported, body.verification.checks)),
        **_error_fields(body.verification),
    )


def _error_fields(verification: Verification) -> dict[str, Any]:
    """Return what a report says of the error, by the names of its fields."""
    return {
        'tre_rms_mm': verification.tre_rms_mm,
        'tre_p95_mm': verification.tre_p95_mm,
        'tre_p95_across_mm': verification.bound.across_mm,
        'tre_p95_along_mm': verification.bound.along_mm,
        'along': verification.along,
        'verdict_for': int(verification.verdict_for),
    }


def _reported(check: Check) -> protocol.CheckReport:
    figures = (check.name, check.value, check.limit, check.passed)
    return protocol.CheckReport(*figures, int(check.verdict), int(check.reason), check.found)
