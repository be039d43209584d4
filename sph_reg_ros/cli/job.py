"""One registration from files: read, start, register."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pydicom
import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.cli.outcome import Outcome
from sph_reg_ros.cli.pose_file import read_pose
from sph_reg_ros.errors import CameraError, ErrorCode, ImageError, PoseError
from sph_reg_ros.geometry import Camera, se3
from sph_reg_ros.geometry.carm import camera_from_ct_for_angles
from sph_reg_ros.imaging.attenuation import AttenuationVolume, attenuation_from_hounsfield
from sph_reg_ros.imaging.ct import CT, load_ct
from sph_reg_ros.imaging.dicom_files import is_dicom
from sph_reg_ros.imaging.intensity import IntensityKind, IntensityModel
from sph_reg_ros.imaging.xray import XRay, load_xray, prepare_xray
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.pipeline import register
from sph_reg_ros.registration.request import RegistrationRequest, View


@dataclass(frozen=True)
class BeamOptions:
    """Camera of an X-ray whose file has none: distances in mm, principal point (column, row)."""

    sdd_mm: float | None = None
    pixel_pitch_mm: tuple[float, float] | None = None
    principal_point: tuple[float, float] | None = None

    def camera(self, size: tuple[int, int]) -> Camera | None:
        """Return the camera of an image (height, width), None if no option was given."""
        if self.sdd_mm is None and self.pixel_pitch_mm is None and self.principal_point is None:
            return None
        if self.sdd_mm is None or self.pixel_pitch_mm is None:
            raise CameraError(
                ErrorCode.CAMERA_MISSING, '--sdd and --pixel-pitch are needed together'
            )
        return Camera.from_geometry(self.sdd_mm, self.pixel_pitch_mm, size, self.principal_point)


@dataclass(frozen=True)
class StartOptions:
    """Where to start: a pose file, or C-arm angles (degrees) about an isocentre (LPS mm)."""

    pose_path: Path | None = None
    angles_deg: tuple[float, float] | None = None
    sod_mm: float | None = None
    isocentre_lps_mm: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Job:
    """What `sph-reg register` was asked."""

    ct_path: Path
    xray_path: Path
    series_uid: str | None = None
    energy_kev: float = 60.0
    frame: int = 0
    intensity: str | None = None
    beam: BeamOptions = BeamOptions()
    start: StartOptions = StartOptions()
    accept_other_patient: bool = False
    config: RegistrationConfig = RegistrationConfig()


def run_job(job: Job) -> Outcome:
    """Read CT and X-ray, and register them; raises RegistrationError."""
    # The X-ray first: it is small, and most mistakes are made there.
    xray = read_xray(job)
    ct = load_ct(job.ct_path, series_uid=job.series_uid)
    if not job.accept_other_patient:
        require_same_patient(ct, xray)
    volume = attenuation_from_hounsfield(ct, job.energy_kev)
    view = view_of(xray, job.intensity)
    request = RegistrationRequest(volume, (view,), initial_pose(job, xray, volume), job.config)
    return Outcome(request, register(request), ct, job.energy_kev, xray.warnings)


def read_xray(job: Job) -> XRay:
    """Load the X-ray with the camera of its file or of the options; raises RegistrationError."""
    if is_dicom(job.xray_path):
        camera = job.beam.camera(dicom_size(job.xray_path))
        return load_xray(job.xray_path, frame=job.frame, camera=camera)
    pixels = load_xray(job.xray_path, frame=job.frame)
    camera = job.beam.camera(cast(tuple[int, int], tuple(pixels.pixels.shape)))
    if camera is None and pixels.camera is None:
        raise CameraError(
            ErrorCode.CAMERA_MISSING,
            'the X-ray file has no geometry: give --sdd MM and --pixel-pitch ROW COLUMN',
        )
    return XRay(pixels.pixels, pixels.mask, camera or pixels.camera, intensity=pixels.intensity)


def dicom_size(path: Path) -> tuple[int, int]:
    """Return (height, width) of a DICOM image; raises ImageError."""
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=['Rows', 'Columns'])
        return int(header.Rows), int(header.Columns)
    except Exception:  # a damaged file makes pydicom raise nearly any type
        raise ImageError(
            ErrorCode.IMAGE_UNREADABLE, 'the X-ray is no readable DICOM image: export it again'
        ) from None


def require_same_patient(ct: CT, xray: XRay) -> None:
    """Raise ImageError if CT and X-ray carry different patient IDs."""
    if ct.patient_hash and xray.patient_hash and ct.patient_hash != xray.patient_hash:
        raise ImageError(
            ErrorCode.IMAGE_CONTENT,
            'CT and X-ray carry different patient IDs: check both files, or give --other-patient',
        )


def view_of(xray: XRay, intensity: str | None) -> View:
    """Return the X-ray as line integrals; raises ImageError or ConfigError."""
    if xray.camera is None:
        raise CameraError(ErrorCode.CAMERA_MISSING, 'the X-ray has no camera: give --sdd')
    model = IntensityModel(cast(IntensityKind, intensity)) if intensity else xray.intensity
    integrals, mask = prepare_xray(xray.pixels, model, mask=xray.mask)
    return View(integrals, xray.camera, mask)


def initial_pose(job: Job, xray: XRay, volume: AttenuationVolume) -> Float64[Tensor, '4 4']:
    """Return where to start: the pose file, the given angles, or those of the X-ray's file."""
    start = job.start
    if start.pose_path is not None:
        return read_pose(start.pose_path)
    isocentre = (
        volume.centre
        if start.isocentre_lps_mm is None
        else torch.tensor(start.isocentre_lps_mm, dtype=torch.float64)
    )
    if start.angles_deg is not None and start.sod_mm is not None:
        primary, secondary = map(math.radians, start.angles_deg)
        return camera_from_ct_for_angles(primary, secondary, start.sod_mm, isocentre)
    if start.angles_deg is not None or start.sod_mm is not None or xray.camera_from_ct is None:
        raise PoseError(
            ErrorCode.INITIAL_POSE_MISSING,
            'no start: give --initial-pose FILE, or --angles PRIMARY SECONDARY with --sod MM',
        )
    # The file's pose has the isocentre at the origin of LPS.
    shift = se3.from_parts(torch.eye(3, dtype=torch.float64), -isocentre)
    return xray.camera_from_ct @ shift
