"""An X-ray with all that belongs to it, in the units of the core (mm), without ROS or torch."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Shaped

from sph_reg_ros.errors import ErrorCode, PoseError
from sph_reg_ros.imaging.lens import Lens


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


def initial_camera_from_ct(
    initial: FramedPose | None, view: XRayView
) -> Float64[np.ndarray, '4 4'] | None:
    """Return the first guess for a view, from a patient pose in the imager's or the fixed frame.

    None if there is no guess: only the worker knows whether it has networks that need none.

    Raises:
        PoseError: the frame of the guess cannot be related to the view.
    """
    if initial is None:
        return None
    if initial.frame_id == view.frame_id:
        return initial.matrix
    if view.imager is None:
        raise PoseError(
            ErrorCode.IMAGER_POSE_MISSING,
            f'the initial pose is in frame {initial.frame_id!r}, and no imager pose relates that '
            f'to {view.frame_id!r}: set use_imager_pose or give the pose in {view.frame_id!r}',
        )
    if initial.frame_id != view.imager.frame_id:
        raise PoseError(
            ErrorCode.POSE_INVALID,
            f'the initial pose is in frame {initial.frame_id!r}; it must be in '
            f'{view.imager.frame_id!r} or {view.frame_id!r}',
        )
    return np.linalg.inv(view.imager.matrix) @ initial.matrix
