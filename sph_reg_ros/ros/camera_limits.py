"""What intrinsics an X-ray imager can have; no ROS here."""

import math

import numpy as np
from jaxtyping import Float64

from sph_reg_ros.errors import CameraError, ErrorCode

FIELD_DEG = (0.2, 90.0)
"""Imagers see 10 to 30 degrees; crops less. 0.3 to 2.5 m from source to detector lies within."""
MAX_ASPECT = 5.0
MAX_OFF_CENTRE = 5.0
"""Distance of the principal point from the image's centre in image sizes; crops lie off it."""


def require_possible(K: Float64[np.ndarray, '3 3'], size: tuple[int, int]) -> None:
    """Refuse intrinsics in wrong units or of another image.

    Args:
        K: of the image (pixels), with positive focal lengths.
        size: (height, width) of the image.

    Raises:
        CameraError: CAMERA_INVALID, with the figure that is impossible.
    """
    for name, pixels, f, c in (('x', size[1], K[0, 0], K[0, 2]), ('y', size[0], K[1, 1], K[1, 2])):
        degrees = math.degrees(2 * math.atan(pixels / 2 / f))
        if not FIELD_DEG[0] <= degrees <= FIELD_DEG[1]:
            raise _impossible(
                f'{pixels} pixels and a focal length of {f:g} pixels make a field of view of '
                f'{degrees:.3g} degrees in {name}'
            )
        off = abs(c - (pixels - 1) / 2) / pixels
        if off > MAX_OFF_CENTRE:
            raise _impossible(
                f'the principal point lies {off:.3g} image sizes off centre in {name}'
            )
    aspect = max(K[0, 0], K[1, 1]) / min(K[0, 0], K[1, 1])
    if aspect > MAX_ASPECT or abs(K[0, 1]) > min(K[0, 0], K[1, 1]):
        raise _impossible(f'pixels would be {aspect:.3g} times as wide as high, or oblique')


def _impossible(figure: str) -> CameraError:
    return CameraError(
        ErrorCode.CAMERA_INVALID,
        f'no imager has these intrinsics: {figure}; focal length = source-detector distance / '
        'pixel pitch, both in mm',
    )
