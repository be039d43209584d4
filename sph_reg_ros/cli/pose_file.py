"""Reads initial poses: matrices, ITK transforms, plain numbers."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.cli.matrix_file import (
    is_sequence_of_matrices,
    mapping_of,
    matrix,
    number_of,
    read_text,
    reading,
)
from sph_reg_ros.errors import ErrorCode, PoseError
from sph_reg_ros.geometry import se3
from sph_reg_ros.geometry.itk_transform import is_itk_transform, parse_itk_transform

IN_CAMERA, IN_FIXED = 'camera_from_ct', 'fixed_from_ct'
FORMATS = (
    f'it must be YAML or JSON with {IN_CAMERA} or {IN_FIXED}, 4 rows of 4 numbers (mm, CT in LPS), '
    f'such as registration.json; or {IN_CAMERA} as plain text; or ct_to_imager.tfm'
)


@dataclass(frozen=True)
class PoseFile:
    """A pose of the CT in the first camera.

    Attributes:
        camera_from_ct: pose [4, 4], mm.
        assumptions: what the file leaves open and was assumed.
        checkable: whether it was given in the camera, so that it can be seen to be turned over.
    """

    camera_from_ct: Float64[Tensor, '4 4']
    assumptions: tuple[str, ...] = ()
    checkable: bool = True


def read_pose(path: Path, fixed_from_camera: Float64[Tensor, '4 4'] | None, views: int) -> PoseFile:
    """Return the pose of the CT in the first camera (mm, CT in LPS).

    - YAML or JSON, such as registration.json: `camera_from_ct` is one 4 x 4 matrix, or one for
      each view; `fixed_from_ct` is one. Where both are there, several views take the second.
    - Plain text: 16 numbers with spaces or commas, as numpy.savetxt writes them; `camera_from_ct`.
    - An ITK transform (.tfm) that brings the CT to the imager.

    Args:
        path: file.
        fixed_from_camera: pose of the first camera, needed for `fixed_from_ct`.
        views: number of views.

    Raises:
        PoseError: unreadable, incomplete, or no rigid transform.
    """
    with reading(path, PoseError, ErrorCode.POSE_INVALID, ErrorCode.POSE_INVALID, FORMATS):
        text = read_text(path)
        if is_itk_transform(text):
            return _from_itk(text, path.name)
        numbers = plain_numbers(text)
        if numbers:
            return _from_numbers(numbers, path.name)
        content = mapping_of(text)
        key = _key(content, views)
        pose = _pose(content.get(key), views)
    se3.require_rigid(pose, f'{key} of {path.name}')
    if key == IN_CAMERA:
        return PoseFile(pose)
    return PoseFile(_in_camera(pose, fixed_from_camera, path.name), checkable=False)


def plain_numbers(text: str) -> list[float]:
    """Return the numbers of a text that holds nothing else but # comments; [] if it does.

    Raises:
        ValueError: one of them is not finite.
    """
    words = re.split(r'[\s,;]+', re.sub(r'#.*', '', text).strip(' \n\r\t,;'))
    try:
        [float(word) for word in words]
    except ValueError:
        return []
    return [number_of(word) for word in words]


def _from_numbers(numbers: list[float], name: str) -> PoseFile:
    pose = matrix(numbers, 4, 4)
    se3.require_rigid(pose, name)
    return PoseFile(pose, (f'{name} is {IN_CAMERA}: CT (LPS) to camera, mm',))


def _from_itk(text: str, name: str) -> PoseFile:
    try:
        ct_from_camera = parse_itk_transform(text)
    except PoseError as error:
        raise PoseError(error.code, f'{name}: {error}') from None
    se3.require_rigid(ct_from_camera, name)
    return PoseFile(se3.inverse(ct_from_camera), (f'{name} brings the CT to the imager',))


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
