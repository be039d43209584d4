"""What the worker does with its requests; the only module of the node that imports torch."""

import contextlib
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from sph_reg_ros.errors import CTError, ErrorCode, ImageError, SolverError
from sph_reg_ros.evaluation.overlay import overlay
from sph_reg_ros.geometry import Camera
from sph_reg_ros.imaging.attenuation import AttenuationVolume, attenuation_from_hounsfield
from sph_reg_ros.imaging.ct import list_series, load_ct
from sph_reg_ros.imaging.intensity import IntensityModel
from sph_reg_ros.imaging.xray import prepare_xray
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.pipeline import register
from sph_reg_ros.registration.request import RegistrationRequest, View
from sph_reg_ros.rendering.render import render
from sph_reg_ros.ros import protocol
from sph_reg_ros.ros.parameters import ImageParameters
from sph_reg_ros.ros.protocol import ProgressReport, Reply, Request

Report = Callable[[ProgressReport], None]


class Workbench:
    """Keeps the CT between requests."""

    def __init__(self) -> None:
        """Start without a CT."""
        # The renderer uses all cores by itself. Torch's many small steps gain 15 % from a second
        # one, but take three times as long when another process needs that core.
        torch.set_num_threads(1)
        self._volume: AttenuationVolume | None = None
        self._series_uid_hash = ''

    def handle(self, request: Request, report: Report) -> Reply:
        """Carry out one request; raises RegistrationError."""
        match request:
            case protocol.LoadCT():
                return self._load_ct(request)
            case protocol.ListSeries():
                series = list_series(Path(request.path))
                return protocol.SeriesListed(tuple(str(entry) for entry in series))
            case protocol.WarmUp():
                return self._warm_up(request)
            case protocol.Register():
                return self._register(request, report)

    def _load_ct(self, request: protocol.LoadCT) -> protocol.CTLoaded:
        # Forgotten first: if loading fails, nobody must go on with the CT of another patient.
        self._volume = None
        ct = load_ct(Path(request.path), series_uid=request.series_uid or None)
        self._volume = attenuation_from_hounsfield(ct, request.energy_kev)
        self._series_uid_hash = ct.series_uid_hash
        return protocol.CTLoaded(ct.series_uid_hash, self._volume.shape, self._volume.spacing_mm)

    def _warm_up(self, request: protocol.WarmUp) -> protocol.Done:
        volume = self._require_volume()
        # About what a C-arm sees: the coarser CTs that such images ask for are made here, too.
        camera = Camera.from_geometry(1020.0, (1.2, 1.2), (256, 256))
        camera_from_ct = torch.eye(4, dtype=torch.float64)
        camera_from_ct[:3, 3] = torch.tensor([0.0, 0.0, 700.0]) - volume.centre
        image = render(volume, camera_from_ct, camera.K, camera.size, backend=request.backend)
        config = RegistrationConfig(backend=request.backend, starts=1)
        # A CT that shows nothing here is no reason to fail: it only leaves something to compile.
        with contextlib.suppress(ImageError, SolverError):
            view = View(image.cpu(), camera)
            register(RegistrationRequest(volume, (view,), camera_from_ct, config))
        return protocol.Done()

    def _register(self, request: protocol.Register, report: Report) -> protocol.Registered:
        volume = self._require_volume()
        views = tuple(prepare_view(view, request.image) for view in request.views)
        start = torch.from_numpy(request.initial_camera_from_ct)
        result = register(
            RegistrationRequest(volume, views, start, request.config),
            lambda progress: report(ProgressReport(**vars(progress))),
        )
        drr = None
        if request.drr or request.overlay:
            camera = views[0].camera
            pose = result.camera_from_ct[0]
            drr = render(volume, pose, camera.K, camera.size, backend=result.backend)
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
            compute_s=math.fsum(result.timings_s.values()),
            checks=tuple(protocol.CheckReport(**vars(check)) for check in result.checks),
            warnings=result.warnings,
            backend=result.backend,
            runner_up_mm=result.runner_up.distance_mm if result.runner_up else math.nan,
            drr=drr.float().numpy() if drr is not None and request.drr else None,
            overlay=_overlay(views[0], drr) if drr is not None and request.overlay else None,
        )

    def _require_volume(self) -> AttenuationVolume:
        if self._volume is None:
            raise CTError(ErrorCode.CT_NOT_LOADED, 'no CT is loaded: set ct.path or call ~/load_ct')
        return self._volume


def prepare_view(view: protocol.RegisterView, image: ImageParameters) -> View:
    """Turn raw pixels into line integrals and mask what measures nothing.

    Raises:
        ImageError: NaN or infinite pixels, or too little left to compare.
    """
    integrals, mask = prepare_xray(
        torch.from_numpy(view.pixels.astype(np.float32)),
        IntensityModel(image.intensity, image.i0 or None, image.bright_air),  # type: ignore[arg-type]
        mask_saturation=image.mask_saturation,
        mask_collimator=image.mask_collimator,
    )
    pose = view.fixed_from_camera
    return View(
        integrals,
        Camera(torch.from_numpy(view.K), *integrals.shape),
        None if bool(mask.all()) else mask,
        None if pose is None else torch.from_numpy(pose),
    )


def _overlay(view: View, drr: torch.Tensor) -> np.ndarray:
    return overlay(view.line_integrals.numpy(), drr.float().numpy())
