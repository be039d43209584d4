"""A received X-ray with its poses, in the units of the core (mm), without ROS or torch."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64, Shaped

from sph_reg_ros.imaging.xray.lens import Lens


@dataclass(frozen=True)
class FramedPose:
    """A pose and the frame that it is given in.

    Attributes:
        frame_id: frame of the coordinates that `matrix` leads to.
        matrix: rigid transform [4, 4] (mm) from the posed object to `frame_id`.
    """

    frame_id: str
    matrix: Float64[np.ndarray, '4 4']


@dataclass(frozen=True)
class InitialPose(FramedPose):
    """The rough pose of the patient.

    Attributes:
        covariance: [6, 6] of (x, y, z in m, rotation about X, Y, Z in rad) of the patient frame's
            origin, fixed axes of `frame_id`; all zero: unknown.
    """

    covariance: Float64[np.ndarray, '6 6'] = field(default_factory=lambda: np.zeros((6, 6)))

    def seen_from(self, frame_id: str, matrix: Float64[np.ndarray, '4 4']) -> 'InitialPose':
        """Return it in another frame; `matrix` leads there from the present one."""
        turn = np.kron(np.eye(2), matrix[:3, :3])
        return InitialPose(frame_id, matrix @ self.matrix, turn @ self.covariance @ turn.T)


@dataclass(frozen=True)
class XRayView:
    """One X-ray as it came in, checked and matched.

    Attributes:
        stamp_ns: acquisition time in nanoseconds.
        frame_id: the imager's optical frame.
        pixels: [H, W] uint8, uint16 or float32, raw values.
        K: intrinsics in pixels; after rectification the same.
        lens: distortion of the pixels; None if there is none.
        imager: imager pose (fixed_from_camera) at the stamp, if one is known.
        warnings: what the user should know about image and matching.
    """

    stamp_ns: int
    frame_id: str
    pixels: Shaped[np.ndarray, 'H W']
    K: Float64[np.ndarray, '3 3']
    imager: FramedPose | None = None
    warnings: tuple[str, ...] = ()
    lens: Lens | None = None
