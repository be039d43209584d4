"""Camera and nominal pose of a DICOM projection image."""

import math
from contextlib import suppress
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float64
from pydicom import Dataset
from torch import Tensor

from sph_reg_ros.errors import CameraError, ErrorCode
from sph_reg_ros.geometry import Camera
from sph_reg_ros.geometry.carm import camera_from_ct_for_angles, format_angles
from sph_reg_ros.imaging.dicom.tags import (
    contradiction,
    read_number,
    read_word,
    read_words,
    tag_label,
)
from sph_reg_ros.imaging.xray.dicom_detector import Detector, read_detector
from sph_reg_ros.imaging.xray.dicom_orientation import (
    PixelAxes,
    axes_from_orientation,
    axes_from_view,
    usual_display_axes,
)
from sph_reg_ros.imaging.xray.dicom_positioner import positioner_angles
from sph_reg_ros.imaging.xray.given_geometry import NOTHING_GIVEN, GivenGeometry

# A tilted detector needs another K; up to here the shift is below a pixel or so.
_LARGEST_DETECTOR_TILT_DEG = 0.5
_SAME_ANGLE_RAD = math.radians(0.5)


@dataclass(frozen=True)
class Projection:
    """Geometry of one frame: see `XRay` for the fields."""

    camera: Camera | None
    camera_from_ct: Float64[Tensor, '4 4'] | None
    warnings: tuple[str, ...]


def read_projection(
    dataset: Dataset, size: tuple[int, int], frame: int, given: GivenGeometry = NOTHING_GIVEN
) -> Projection:
    """Read the camera and, if the C-arm's angles are there, its nominal pose.

    XA does not tell where in the image the isocentre lies: it is taken to be on the central ray.

    Args:
        dataset: header of an XA, RF, DX or CR image.
        size: (rows, columns) of the stored image.
        frame: frame, from 0, for positioner angles that change.
        given: what takes precedence over the file, with a warning where the two differ.

    Raises:
        CameraError: a tag is missing, invalid, or contradicts another.
    """
    enhanced: tuple[str, ...] = ()
    if 'SharedFunctionalGroupsSequence' in dataset:
        if not given.makes_camera:
            raise CameraError(
                ErrorCode.CAMERA_MISSING,
                'the geometry of Enhanced XA/XRF objects is not read yet: export the image as XA '
                'or give the camera yourself',
            )
        enhanced = ('the geometry of Enhanced XA/XRF objects is not read, only what was given',)
    distance, sdd_warnings = _source_to_detector(dataset, given.sdd_mm)
    _require_perpendicular_detector(dataset)
    detector = read_detector(dataset, size, given.pixel_pitch_mm)
    if given.principal_point is not None:
        detector = replace(detector, principal_point=given.principal_point)
    angles, angle_warnings = _angles(dataset, frame, given.angles_deg)
    camera_from_ct, pose_warnings = _nominal_pose(dataset, distance, angles, given.sod_mm)
    axes, axes_warnings = _pixel_axes(dataset, frame, angles)
    camera = _camera(detector, axes, distance, size)
    warnings = enhanced + sdd_warnings + detector.warnings + angle_warnings
    return Projection(camera, camera_from_ct, warnings + pose_warnings + axes_warnings)


def read_nominal_pose(
    dataset: Dataset, frame: int, given: GivenGeometry
) -> Float64[Tensor, '4 4'] | None:
    """Return the nominal pose alone, for a camera that is given; None if the file has none."""
    with suppress(CameraError):
        angles, _ = _angles(dataset, frame, given.angles_deg)
        return _nominal_pose(dataset, math.inf, angles, given.sod_mm)[0]
    return None


def _camera(detector: Detector, axes: PixelAxes, distance: float, size: tuple[int, int]) -> Camera:
    rows_mm, columns_mm = detector.pitch_mm
    K = torch.eye(3, dtype=torch.float64)
    K[0, :2] = axes[0] * (distance / columns_mm)
    K[1, :2] = axes[1] * (distance / rows_mm)
    K[:2, 2] = torch.tensor(detector.principal_point, dtype=torch.float64)
    return Camera(K, *size)


def _source_to_detector(dataset: Dataset, given_mm: float | None) -> tuple[float, tuple[str, ...]]:
    keyword = 'DistanceSourceToDetector'
    if given_mm is not None:
        return given_mm, contradiction(dataset, keyword, (given_mm,), 'mm')
    distance = read_number(dataset, keyword)
    if distance is None:
        raise CameraError(
            ErrorCode.CAMERA_MISSING,
            f'{tag_label(keyword)} is missing: give the source-detector distance or the camera '
            'yourself',
        )
    if distance <= 0:
        raise CameraError(
            ErrorCode.CAMERA_UNCALIBRATED,
            f'{tag_label(keyword)} is {distance:g} mm: give the source-detector distance or the '
            'camera yourself',
        )
    return distance, ()


def _require_perpendicular_detector(dataset: Dataset) -> None:
    for keyword in ('DetectorPrimaryAngle', 'DetectorSecondaryAngle'):
        tilt = read_number(dataset, keyword) or 0.0
        if abs(tilt) > _LARGEST_DETECTOR_TILT_DEG:
            raise CameraError(
                ErrorCode.CAMERA_INVALID,
                f'{tag_label(keyword)} is {tilt:g} deg: a detector that is not perpendicular to '
                'the beam is not supported; give the camera yourself',
            )


def _angles(
    dataset: Dataset, frame: int, given_deg: tuple[float, float] | None
) -> tuple[tuple[float, float] | None, tuple[str, ...]]:
    """Return the C-arm angles (rad) that count, None if there are none."""
    if given_deg is None:
        return positioner_angles(dataset, frame), ()
    given = math.radians(given_deg[0]), math.radians(given_deg[1])
    with suppress(CameraError):
        stated = positioner_angles(dataset, frame)
        if stated is not None and math.dist(stated, given) > _SAME_ANGLE_RAD:
            return given, (
                f'the file says {format_angles(*stated)}, given was {format_angles(*given)}, '
                'which counts',
            )
    return given, ()


def _nominal_pose(
    dataset: Dataset,
    distance: float,
    angles: tuple[float, float] | None,
    given_mm: float | None,
) -> tuple[Float64[Tensor, '4 4'] | None, tuple[str, ...]]:
    if angles is None:
        return None, ('the file has no C-arm angles: the pose must come from elsewhere',)
    keyword = 'DistanceSourceToPatient'
    to_isocentre = read_number(dataset, keyword) if given_mm is None else given_mm
    if not to_isocentre:
        # A guess would be a depth that looks measured.
        return None, (f'{tag_label(keyword)} is missing: no nominal pose without it',)
    if not 0 < to_isocentre < distance:
        raise CameraError(
            ErrorCode.CAMERA_INVALID,
            f'{tag_label(keyword)} {to_isocentre:g} mm is not between 0 and '
            f'{tag_label("DistanceSourceToDetector")} {distance:g} mm',
        )
    origin = torch.zeros(3, dtype=torch.float64)
    warnings = () if given_mm is None else contradiction(dataset, keyword, (given_mm,), 'mm')
    return camera_from_ct_for_angles(*angles, to_isocentre, origin), warnings


def _pixel_axes(
    dataset: Dataset, frame: int, angles: tuple[float, float] | None
) -> tuple[PixelAxes, tuple[str, ...]]:
    orientation = read_words(dataset, 'PatientOrientation')
    label = tag_label('PatientOrientation')
    if angles is None:
        axes = axes_from_view(orientation, read_word(dataset, 'ViewPosition'))
        if axes is not None:
            return axes, ()
        return torch.eye(2, dtype=torch.float64), (
            f'{label} and {tag_label("ViewPosition")} do not tell whether the image is mirrored: '
            'it is taken as seen from the source',
        )
    if not orientation:
        return usual_display_axes(), (
            f'{label} is missing: the image is taken as displayed facing the patient, head up',
        )
    # PatientOrientation is that of the first frame, as the file's angles are, whatever was given.
    first_angles = positioner_angles(dataset, 0) or angles
    unit = torch.zeros(3, dtype=torch.float64)
    pose = camera_from_ct_for_angles(*first_angles, 1.0, unit)
    return axes_from_orientation(orientation, pose[:3, :3]), ()
