"""The demo without ROS: simulated X-rays of a CT are registered by the library, in this process."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.demo.contact_sheet import PICTURE_STEP_MM, Tile
from sph_reg_ros.demo.table import LANDMARK_HALF_SIZE_MM, Row, caption
from sph_reg_ros.evaluation.carm import CArm, CArmGeometry, EncoderError, Exposure, Orbit
from sph_reg_ros.evaluation.metrics import PoseError, pose_error
from sph_reg_ros.evaluation.simulation import XRaySimulation
from sph_reg_ros.geometry import se3
from sph_reg_ros.geometry.box import landmark_grid
from sph_reg_ros.geometry.carm import angles_from_camera_from_ct, format_angles
from sph_reg_ros.imaging.attenuation import attenuation_from_hounsfield
from sph_reg_ros.imaging.ct.volume import CT
from sph_reg_ros.imaging.xray.intensity import IntensityModel
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.prepared_view import ViewMaker
from sph_reg_ros.registration.register import register
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.result import RegistrationResult, Verdict
from sph_reg_ros.rendering.render import render


@dataclass(frozen=True)
class Shown:
    """One X-ray: its line of the table, and its pictures."""

    row: Row
    tile: Tile


def registered_images(ct: CT, images: int) -> Iterator[Shown]:
    """Yield what becomes of each simulated X-ray of an orbit around the middle of a CT.

    Raises:
        RegistrationError: one cannot be registered at all.
    """
    carm = CArm.around(
        ct, CArmGeometry(), Orbit(steps=images), EncoderError(), XRaySimulation(), seed=0
    )
    volume, camera = attenuation_from_hounsfield(ct), carm.geometry.camera
    make_view = ViewMaker(IntensityModel())
    # The camera of a simulated C-arm is known exactly.
    config = RegistrationConfig(calibration='exact')
    for index in range(images):
        exposure = carm.expose(index)
        start = se3.inverse(exposure.fixed_from_camera) @ carm.fixed_from_ct
        view = make_view(torch.from_numpy(exposure.counts.astype(np.float32)), camera)
        begin_s = time.monotonic()
        result = register(RegistrationRequest(volume, (view,), start, config))
        row = _row(carm, exposure, start, result, time.monotonic() - begin_s)
        before, after = (
            render(volume, pose, camera.K, camera.size, step_mm=PICTURE_STEP_MM).numpy()
            for pose in (start, result.camera_from_ct[0])
        )
        captions = caption(row.start), row.verdict if row.final is None else caption(row.final)
        yield Shown(
            row, Tile(f'{index + 1}   {row.angle}', exposure.counts, before, after, *captions)
        )


def _row(
    carm: CArm,
    exposure: Exposure,
    start: Float64[Tensor, '4 4'],
    result: RegistrationResult,
    time_s: float,
) -> Row:
    landmarks_mm = landmark_grid(carm.isocentre_lps_mm, LANDMARK_HALF_SIZE_MM)

    def error(pose: Float64[Tensor, '4 4']) -> PoseError:
        geometry = carm.geometry
        return pose_error(
            pose, exposure.camera_from_ct, landmarks_mm, geometry.camera, geometry.pixel_pitch_mm
        )

    verified = result.verdict == Verdict.VERIFIED
    finding = result.finding
    return Row(
        index=exposure.index,
        angle=format_angles(*angles_from_camera_from_ct(exposure.camera_from_ct)),
        start=error(start),
        final=error(result.camera_from_ct[0]) if verified else None,
        similarity=result.similarity_after,
        time_s=time_s,
        verdict='verified' if verified or finding is None else str(finding.explanation),
    )
