"""Initial poses of registrations from files."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.cli.landmark_file import is_outside, read_landmarks, require_inside
from sph_reg_ros.cli.pose_file import read_pose
from sph_reg_ros.cli.xray_views import XRayFile
from sph_reg_ros.errors import ErrorCode, PoseError
from sph_reg_ros.geometry import Camera, se3
from sph_reg_ros.geometry.carm import (
    angles_from_camera_from_ct,
    camera_from_ct_for_angles,
    format_angles,
)
from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.plausible import SOURCE_PATIENT_MM
from sph_reg_ros.registration.landmarks import Landmarks, pose_from_landmarks
from sph_reg_ros.registration.visibility import rays_through

_MUCH_FARTHER = 4.0
"""No isocentre in mm is so near the origin that it lies that much nearer the CT's middle in m."""


@dataclass(frozen=True)
class Start:
    """The initial pose and its source.

    Attributes:
        camera_from_ct: pose [4, 4] (mm) in the first camera; None: networks or a search find one.
        source: what it is from.
        assumptions: what had to be assumed.
        landmarks: that the pose is from; None if it is not.
    """

    camera_from_ct: Float64[Tensor, '4 4'] | None
    source: str
    assumptions: tuple[str, ...] = ()
    landmarks: Landmarks | None = None


@dataclass(frozen=True)
class StartOptions:
    """Where to start: a pose, C-arm angles (degrees) about an isocentre (LPS mm), or landmarks."""

    pose_path: Path | None = None
    angles_deg: tuple[float, float] | None = None
    sod_mm: float | None = None
    isocentre_lps_mm: tuple[float, float, float] | None = None
    landmarks_path: Path | None = None

    def __post_init__(self) -> None:
        """Check that one of both was given at most; raises PoseError."""
        others = (self.angles_deg, self.sod_mm, self.isocentre_lps_mm)
        if self.landmarks_path is not None and any(
            option is not None for option in (self.pose_path, *others)
        ):
            raise PoseError(
                ErrorCode.POSE_INVALID,
                'give --landmarks FILE, or a pose or C-arm angles, not both',
            )
        if self.pose_path is not None and any(option is not None for option in others):
            raise PoseError(
                ErrorCode.POSE_INVALID,
                'give a file with the pose, or --angles, --sod and --isocentre, not both',
            )

    def start(self, xrays: tuple[XRayFile, ...], volume: AttenuationVolume) -> Start:
        """Return the pose in the first camera: the file's, the angles', or the X-ray's own.

        Raises:
            PoseError: the angles lack their distance, or the file's is no pose.
        """
        first = xrays[0]
        assert first.xray.camera is not None, 'read_xrays gives every X-ray a camera'
        if self.landmarks_path is not None:
            return _from_landmarks(self.landmarks_path, volume, first)
        given = self.given(volume, first.xray.camera, first.fixed_from_camera, len(xrays))
        if given is not None:
            return given
        nominal = first.xray.camera_from_ct
        if nominal is None and (self.angles_deg is not None or self.sod_mm is not None):
            raise PoseError(
                ErrorCode.POSE_INVALID,
                '--angles and --sod are needed together, as the X-ray file does not have the other',
            )
        if nominal is None:
            return Start(None, '')
        # The file's pose has the isocentre at the origin of LPS.
        isocentre, assumed = self._isocentre(volume)
        pose = nominal @ se3.from_parts(torch.eye(3, dtype=torch.float64), -isocentre)
        angles = format_angles(*angles_from_camera_from_ct(pose))
        return Start(pose, f'{angles} (C-arm angles of {first.path.name})', assumed)

    def given(
        self,
        volume: AttenuationVolume,
        camera: Camera,
        fixed_from_camera: Float64[Tensor, '4 4'] | None = None,
        views: int = 1,
    ) -> Start | None:
        """Return the pose that the options give without an X-ray, None if they give none.

        Args:
            volume: the CT.
            camera: of the first view.
            fixed_from_camera: its place (mm), if known.
            views: number of views.

        Raises:
            PoseError: the file's is no pose, or it cannot be meant.
        """
        if self.pose_path is not None:
            file = read_pose(self.pose_path, fixed_from_camera, views)
            if file.checkable:
                _require_sense(file.camera_from_ct, volume, camera, self.pose_path.name)
            return Start(file.camera_from_ct, self.pose_path.name, file.assumptions)
        if self.angles_deg is None or self.sod_mm is None:
            return None
        isocentre, assumed = self._isocentre(volume)
        primary, secondary = map(math.radians, self.angles_deg)
        pose = camera_from_ct_for_angles(primary, secondary, self.sod_mm, isocentre)
        return Start(pose, f'{format_angles(primary, secondary)} (--angles)', assumed)

    def _isocentre(self, volume: AttenuationVolume) -> tuple[Float64[Tensor, '3'], tuple[str, ...]]:
        if self.isocentre_lps_mm is not None:
            isocentre = torch.tensor(self.isocentre_lps_mm, dtype=torch.float64)
            _require_mm(isocentre, volume)
            return isocentre, ()
        x, y, z = volume.centre.tolist()
        text = (
            f'the isocentre is the middle of the CT, {x:.1f} {y:.1f} {z:.1f} mm in LPS; '
            '--isocentre says otherwise'
        )
        return volume.centre.double(), (text,)


def _require_mm(isocentre: Float64[Tensor, '3'], volume: AttenuationVolume) -> None:
    """Raise PoseError if a point makes sense in the CT only, or far more, if it is in metres."""
    in_mm, middle = isocentre * 1000, volume.centre.double()
    outside, outside_mm = (is_outside(p.numpy()[None], volume).any() for p in (isocentre, in_mm))
    is_off = float((isocentre - middle).norm()) > _MUCH_FARTHER * float((in_mm - middle).norm())
    if not outside_mm and (outside or is_off):
        raise PoseError(
            ErrorCode.POSE_INVALID,
            'the isocentre lies in the CT if it is in metres: --isocentre must be in mm (LPS)',
        )


def _from_landmarks(path: Path, volume: AttenuationVolume, xray: XRayFile) -> Start:
    camera, landmarks = xray.xray.camera, read_landmarks(path)
    assert camera is not None, 'read_xrays gives every X-ray a camera'
    # They were found in the picture as it is.
    landmarks = replace(landmarks, pixels=xray.pixels_in_view(landmarks.pixels))
    try:
        require_inside(landmarks, volume)
        found = pose_from_landmarks(landmarks, camera)
    except PoseError as error:
        raise PoseError(error.code, f'{path.name}: {error}') from None
    errors_px = found.errors_px
    source = (
        f'{path.name}: {len(errors_px)} pairs, {(errors_px**2).mean() ** 0.5:.1f} px off (worst '
        f'{landmarks.names[int(errors_px.argmax())]}, {errors_px.max():.1f} px), known to '
        f'{math.degrees(found.rotation_rad):.1f} degrees and {found.depth_mm:.0f} mm along the beam'
    )
    return Start(found.camera_from_ct, source, landmarks=landmarks)


def _require_sense(
    pose: Float64[Tensor, '4 4'], volume: AttenuationVolume, camera: Camera, name: str
) -> None:
    """Raise PoseError if a pose makes no sense, but would the other way round or in metres."""
    if _has_sense(pose, volume, camera):
        return
    in_mm, turned = pose.clone(), se3.inverse(pose)
    in_mm[:3, 3] *= 1000
    for meant, other in (
        ('ct_from_camera, which has to be inverted', turned),
        ('in metres, and has to be in millimetres', in_mm),
        ('ct_from_camera in metres: invert it, and give millimetres', se3.inverse(in_mm)),
    ):
        if _has_sense(other, volume, camera):
            raise PoseError(
                ErrorCode.POSE_INVALID,
                f'{name} must be camera_from_ct in mm, but the CT is not before the camera then: '
                f'it seems to be {meant}',
            )


def _has_sense(pose: Tensor, volume: AttenuationVolume, camera: Camera) -> bool:
    middle = se3.transform_points(pose, volume.centre.double()[None])[0]
    nearest, farthest = SOURCE_PATIENT_MM
    return nearest < float(middle[2]) < farthest and rays_through(volume, pose, camera) > 0
