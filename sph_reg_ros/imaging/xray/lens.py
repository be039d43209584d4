"""Distortion by a lens or an image intensifier: the models of ROS's camera_info; no torch here."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sph_reg_ros.errors import CameraError, ErrorCode

MODELS = {'plumb_bob': (4, 5), 'rational_polynomial': (8, 12, 14), 'equidistant': (4,)}
"""How many coefficients each model of sensor_msgs/CameraInfo has, in the order of OpenCV."""


@dataclass(frozen=True)
class Lens:
    """A distortion that has to be undone.

    Attributes:
        model: one of MODELS.
        coefficients: dimensionless; of points at depth 1, so that cropping or binning the image
            does not change them.
    """

    model: str
    coefficients: tuple[float, ...]

    def __post_init__(self) -> None:
        """Check model and number of coefficients; raises CameraError CAMERA_INVALID."""
        if self.model not in MODELS:
            raise invalid_lens(
                f'distortion model {self.model!r} (coefficients {list(self.coefficients)}) is none '
                f'of {", ".join(MODELS)}: calibrate with one of these, or rectify the image '
                'yourself and give the camera of the result'
            )
        counts = MODELS[self.model]
        if len(self.coefficients) not in counts:
            raise invalid_lens(
                f'distortion model {self.model} has {" or ".join(map(str, counts))} coefficients, '
                f'not {len(self.coefficients)}'
            )
        if not all(map(math.isfinite, self.coefficients)):
            raise invalid_lens('the distortion coefficients have NaN or infinite values')


def lens_of(model: str, coefficients: Sequence[float]) -> Lens | None:
    """Return the distortion that a camera states; None if all coefficients are zero.

    As in ROS's image_geometry, zeros mean a pinhole whatever the model's name, equidistant too.

    Raises:
        CameraError: CAMERA_INVALID for an unknown model, or one with other coefficients.
    """
    values = tuple(float(value) for value in coefficients)
    return Lens(model, values) if any(values) else None


def invalid_lens(reason: str) -> CameraError:
    """Return the error of a distortion that cannot be undone."""
    return CameraError(ErrorCode.CAMERA_INVALID, reason)
