"""POSE.yaml: where to start."""

from pathlib import Path
from typing import Any

from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.cli.matrix_file import is_sequence_of_matrices, matrix, read_mapping
from sph_reg_ros.errors import ErrorCode, PoseError
from sph_reg_ros.geometry import se3

IN_CAMERA, IN_FIXED = 'camera_from_ct', 'fixed_from_ct'


def read_pose(
    path: Path, fixed_from_camera: Float64[Tensor, '4 4'] | None, views: int
) -> Float64[Tensor, '4 4']:
    """Return the pose of the CT in the first camera, from YAML or JSON such as registration.json.

    `camera_from_ct` is one 4 x 4 matrix, or one for each view; `fixed_from_ct` is one (mm, CT in
    LPS). Where both are there, several views take the second.

    Args:
        path: file.
        fixed_from_camera: pose of the first camera, needed for `fixed_from_ct`.
        views: number of views.

    Raises:
        PoseError: unreadable, incomplete, or no rigid transform.
    """
    try:
        content = read_mapping(path)
        key = _key(content, views)
        pose = _pose(content.get(key), views)
    except OSError as error:
        raise PoseError(
            ErrorCode.INITIAL_POSE_MISSING, f'{path.name} cannot be read: {error.strerror}'
        ) from None
    except ValueError as error:
        raise PoseError(
            ErrorCode.POSE_INVALID,
            f'{path.name}: {error}; it must be YAML or JSON with {IN_CAMERA} or {IN_FIXED}, '
            '4 rows of 4 numbers (mm, CT in LPS)',
        ) from None
    se3.require_rigid(pose, f'{key} of {path.name}')
    return pose if key == IN_CAMERA else _in_camera(pose, fixed_from_camera, path.name)


def _key(content: dict[str, Any], views: int) -> str:
    there = [key for key in (IN_CAMERA, IN_FIXED) if content.get(key) is not None]
    if not there:
        raise ValueError('it has no pose')
    return there[-1] if views > 1 else there[0]


def _pose(value: Any, views: int) -> Float64[Tensor, '4 4']:
    if not is_sequence_of_matrices(value):
        return matrix(value, 4, 4)
    if len(value) != views:
        raise ValueError(f'it has poses of {len(value)} views, there are {views}')
    return matrix(value[0], 4, 4)


def _in_camera(
    fixed_from_ct: Tensor, fixed_from_camera: Tensor | None, name: str
) -> Float64[Tensor, '4 4']:
    if fixed_from_camera is None:
        raise PoseError(
            ErrorCode.IMAGER_POSE_MISSING,
            f'{name} gives {IN_FIXED}: the camera file then needs fixed_from_camera',
        )
    return se3.inverse(fixed_from_camera) @ fixed_from_ct
