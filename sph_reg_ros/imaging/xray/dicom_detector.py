"""Where on the detector the stored pixels lie: pitch, crop, rotation and mirroring."""

from dataclasses import dataclass

from pydicom import Dataset

from sph_reg_ros.errors import CameraError, ErrorCode
from sph_reg_ros.imaging.dicom.tags import (
    contradiction,
    read_number,
    read_numbers,
    read_word,
    tag_label,
)

# PixelSpacing within this share of the detector's own spacing is that spacing, rounded.
_SAME_SPACING = 0.01
# Millimetres by which a field of view may stick out of the detector, for rounded sizes.
_OVERHANG_MM = 1.0


@dataclass(frozen=True)
class Detector:
    """The stored image on the detector plane.

    Attributes:
        pitch_mm: spacing of the stored rows and columns on the detector (vertical first).
        principal_point: (column, row) of the stored image that the detector's centre falls on.
        warnings: what had to be assumed.
    """

    pitch_mm: tuple[float, float]
    principal_point: tuple[float, float]
    warnings: tuple[str, ...] = ()


def read_detector(
    dataset: Dataset, size: tuple[int, int], given_pitch_mm: tuple[float, float] | None = None
) -> Detector:
    """Read the detector geometry of the stored image (DICOM PS3.3 C.8.11.4, C.8.7.5).

    The central ray is taken to hit the centre of the detector's active area, which lies in the
    centre of the image unless FieldOfViewOrigin and DetectorActiveDimensions place it elsewhere.

    Args:
        dataset: header.
        size: (rows, columns) of the stored image.
        given_pitch_mm: spacing of rows and columns that takes precedence over the file's.

    Raises:
        CameraError: no usable spacing, or tags that contradict each other.
    """
    if given_pitch_mm is None:
        pitch, warnings = _pixel_pitch(dataset)
    else:
        pitch = given_pitch_mm
        warnings = contradiction(dataset, 'ImagerPixelSpacing', pitch, 'mm')
    centre = ((size[1] - 1) / 2, (size[0] - 1) / 2)
    origin = read_numbers(dataset, 'FieldOfViewOrigin', 2)
    active = read_numbers(dataset, 'DetectorActiveDimensions')
    turns, mirrored = _field_of_view_turns(dataset)
    if origin and active:
        return Detector(pitch, _principal_point(dataset, size, pitch, turns, mirrored), warnings)
    if any(origin):
        warnings += (
            f'{tag_label("FieldOfViewOrigin")} is given without '
            f'{tag_label("DetectorActiveDimensions")}: the field of view is taken as centred',
        )
    return Detector(pitch, centre, warnings)


def _pixel_pitch(dataset: Dataset) -> tuple[tuple[float, float], tuple[str, ...]]:
    imager = read_numbers(dataset, 'ImagerPixelSpacing', 2)
    if imager:
        return _positive(imager, 'ImagerPixelSpacing'), ()
    spacing = read_numbers(dataset, 'PixelSpacing', 2)
    if not spacing:
        raise CameraError(
            ErrorCode.CAMERA_MISSING,
            f'{tag_label("ImagerPixelSpacing")} is missing: give the pixel pitch or the camera '
            'yourself',
        )
    pitch = _positive(spacing, 'PixelSpacing')
    if _is_calibrated(dataset, pitch):
        raise CameraError(
            ErrorCode.CAMERA_UNCALIBRATED,
            f'{tag_label("PixelSpacing")} was corrected to the depth of the patient and '
            f'{tag_label("ImagerPixelSpacing")} is missing: give the pixel pitch or the camera '
            'yourself',
        )
    warning = (
        f'{tag_label("ImagerPixelSpacing")} is missing: {tag_label("PixelSpacing")} is taken for '
        'it, which is wrong if it was corrected to the depth of the patient'
    )
    return pitch, (warning,)


def _is_calibrated(dataset: Dataset, pitch: tuple[float, float]) -> bool:
    if read_word(dataset, 'PixelSpacingCalibrationType'):
        return True
    if read_number(dataset, 'EstimatedRadiographicMagnificationFactor') not in (None, 0, 1):
        return True
    element = read_numbers(dataset, 'DetectorElementSpacing', 2)
    if not element:
        return False
    binning = read_numbers(dataset, 'DetectorBinning', 2) or (1.0, 1.0)
    detector = sorted(e * b for e, b in zip(element, binning, strict=True))
    pairs = zip(sorted(pitch), detector, strict=True)
    return any(abs(spacing / own - 1) > _SAME_SPACING for spacing, own in pairs)


def _field_of_view_turns(dataset: Dataset) -> tuple[int, bool]:
    """Return clockwise quarter turns, and whether a horizontal flip followed."""
    rotation = read_number(dataset, 'FieldOfViewRotation') or 0.0
    if rotation not in (0.0, 90.0, 180.0, 270.0):
        raise CameraError(
            ErrorCode.CAMERA_INVALID,
            f'{tag_label("FieldOfViewRotation")} is {rotation:g}, not 0, 90, 180 or 270',
        )
    return int(rotation) // 90, read_word(dataset, 'FieldOfViewHorizontalFlip') in ('YES', 'Y')


def _principal_point(
    dataset: Dataset,
    size: tuple[int, int],
    pitch: tuple[float, float],
    turns: int,
    mirrored: bool,
) -> tuple[float, float]:
    extent = (size[0] * pitch[0], size[1] * pitch[1])
    on_detector = extent if turns % 2 == 0 else extent[::-1]
    down, right = _centre_from_field_corner(dataset, on_detector, pitch, turns)
    height, width = on_detector
    for _ in range(turns):
        right, down = height - down, right
        height, width = width, height
    if mirrored:
        right = width - right
    # Millimetres count from the image's corner, which is half a pixel before the first centre.
    return right / pitch[1] - 0.5, down / pitch[0] - 0.5


def _centre_from_field_corner(
    dataset: Dataset, extent: tuple[float, float], pitch: tuple[float, float], turns: int
) -> tuple[float, float]:
    """Return the active area's centre (down, right) in mm from the field's corner, unrotated."""
    element = _element_spacing(dataset, pitch, turns)
    field = read_numbers(dataset, 'FieldOfViewOrigin', 2)
    area = read_numbers(dataset, 'DetectorActiveOrigin', 2) or (0.0, 0.0)
    active = read_numbers(dataset, 'DetectorActiveDimensions')
    active = active if len(active) == 2 else (active[0], active[0])
    centre = []
    for axis, name in enumerate(('rows', 'columns')):
        start = (field[axis] - area[axis]) * element[axis]
        if start < -_OVERHANG_MM or start + extent[axis] > active[axis] + _OVERHANG_MM:
            raise CameraError(
                ErrorCode.CAMERA_INVALID,
                f'the field of view ({name} {start:.1f} to {start + extent[axis]:.1f} mm) is not '
                f'on the active detector (0 to {active[axis]:.1f} mm): '
                f'{tag_label("FieldOfViewOrigin")} contradicts the detector tags',
            )
        centre.append(active[axis] / 2 - start)
    return centre[0], centre[1]


def _element_spacing(
    dataset: Dataset, pitch: tuple[float, float], turns: int
) -> tuple[float, float]:
    element = read_numbers(dataset, 'DetectorElementSpacing', 2)
    if element:
        return _positive(element, 'DetectorElementSpacing')
    binning = read_numbers(dataset, 'DetectorBinning', 2) or (1.0, 1.0)
    rows, columns = pitch if turns % 2 == 0 else pitch[::-1]
    return rows / binning[0], columns / binning[1]


def _positive(numbers: tuple[float, ...], keyword: str) -> tuple[float, float]:
    if min(numbers) <= 0:
        raise CameraError(
            ErrorCode.CAMERA_INVALID, f'{tag_label(keyword)} must be positive: correct the file'
        )
    return numbers[0], numbers[1]
