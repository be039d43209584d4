"""Plausible ranges of X-ray imagers, shared by readers, node and gate.

They are wide: mini C-arms, small specimens close to the source, crops, oblong pixels lie inside.
What they keep out is metres for millimetres, and intrinsics of another image.
"""

import math
from typing import Any

from sph_reg_ros.errors import CameraError, ErrorCode

SOURCE_DETECTOR_MM = (50.0, 5000.0)
PIXEL_PITCH_MM = (0.004, 20.0)
SOURCE_PATIENT_MM = (30.0, 4000.0)
"""From the source to the middle of the CT, or to the isocentre."""
FIELD_DEG = (0.2, 90.0)
"""Angle that a side of the image spans: imagers see 10 to 30 degrees, crops less."""
MAX_ASPECT = 2.5
"""Ratio of a pixel's sides; fields of an interlaced video make it 2."""
MAX_OFF_CENTRE = 5.0
"""Distance of the principal point from the image's centre in image sizes; crops lie off it."""
SMALLEST_OFFSET_MM = 5.0
"""Nothing but metres by mistake brings an X-ray source as near as this to a frame that is not its
own."""


def require_distance(name: str, value_mm: float | None, limits_mm: tuple[float, float]) -> None:
    """Refuse a distance that no imager has; None is not known, and passes.

    Raises:
        CameraError: CAMERA_INVALID, with the value and the range.
    """
    if value_mm is None or limits_mm[0] <= value_mm <= limits_mm[1]:
        return
    hint = ': is it in metres?' if 0 < value_mm < limits_mm[0] else ''
    raise CameraError(
        ErrorCode.CAMERA_INVALID,
        f'{name} is {value_mm:g} mm; imagers have {limits_mm[0]:g} to {limits_mm[1]:g} mm{hint}',
    )


def camera_figures(K: Any, size: tuple[int, int]) -> tuple[float, tuple[float, float]]:
    """Return the aspect of a pixel (1 or more) and the field of view (degrees) along x and y.

    Args:
        K: intrinsics [3, 3] (pixels), of any orientation and handedness of the image.
        size: (height, width) of the image.
    """
    lengths = [math.hypot(float(K[row, 0]), float(K[row, 1])) for row in (0, 1)]
    fields = [
        math.degrees(2 * math.atan(pixels / 2 / f))
        for pixels, f in zip(size[::-1], lengths, strict=True)
    ]
    return max(lengths) / min(lengths), (fields[0], fields[1])


def require_possible(K: Any, size: tuple[int, int]) -> None:
    """Refuse intrinsics in wrong units or of another image.

    Args:
        K: intrinsics [3, 3] (pixels), invertible.
        size: (height, width) of the image.

    Raises:
        CameraError: CAMERA_INVALID, with the figure that is impossible.
    """
    aspect, fields = camera_figures(K, size)
    for name, row, pixels, degrees in zip('xy', (0, 1), size[::-1], fields, strict=True):
        if not FIELD_DEG[0] <= degrees <= FIELD_DEG[1]:
            f = math.hypot(float(K[row, 0]), float(K[row, 1]))
            raise _impossible(
                f'{pixels} pixels and a focal length of {f:g} pixels make a field of view of '
                f'{degrees:.3g} degrees in {name}'
            )
        off = abs(float(K[row, 2]) - (pixels - 1) / 2) / pixels
        if off > MAX_OFF_CENTRE:
            raise _impossible(
                f'the principal point lies {off:.3g} image sizes off centre in {name}'
            )
    if aspect > MAX_ASPECT or _is_oblique(K):
        raise _impossible(f'pixels would be {aspect:.3g} times as wide as high, or oblique')


def _is_oblique(K: Any) -> bool:
    (a, b), (c, d) = (map(float, K[row, :2]) for row in (0, 1))
    return abs(a * c + b * d) > math.sqrt(0.5) * math.hypot(a, b) * math.hypot(c, d)


def _impossible(figure: str) -> CameraError:
    return CameraError(
        ErrorCode.CAMERA_INVALID,
        f'no imager has these intrinsics: {figure}; focal length = source-detector distance / '
        'pixel pitch, both in mm: is one of them in metres?',
    )
