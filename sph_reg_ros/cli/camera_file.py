"""CAMERA.yaml: ROS's camera_info calibration file, with the camera's place for several views."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.cli.matrix_file import matrix, number_of, numbers_of, read_mapping, reading
from sph_reg_ros.errors import CameraError, ErrorCode
from sph_reg_ros.geometry import Camera, se3
from sph_reg_ros.imaging.xray.lens import Lens, lens_of

T = TypeVar('T')


@dataclass(frozen=True)
class CameraFile:
    """What a camera file says.

    Attributes:
        camera: intrinsics and image size.
        fixed_from_camera: pose [4, 4] (mm) of the camera in a frame that all views share; None if
            the file has none.
        lens: distortion of the image; None if it has none.
    """

    camera: Camera
    fixed_from_camera: Float64[Tensor, '4 4'] | None
    lens: Lens | None = None


def read_camera(path: Path) -> CameraFile:
    """Read `image_width`, `image_height`, `camera_matrix`, distortion and `fixed_from_camera`.

    The last two need not be there.

    Raises:
        CameraError: unreadable, incomplete, not invertible, or with an unknown distortion.
        PoseError: `fixed_from_camera` is no rigid transform.
    """
    codes = ErrorCode.CAMERA_MISSING, ErrorCode.CAMERA_INVALID
    with reading(path, CameraError, *codes, 'it is no camera file of ROS (camera_info as YAML)'):
        content = read_mapping(path)
    lens = _lens(content, path.name)
    K = _field(content, 'camera_matrix', path.name, lambda value: matrix(value, 3, 3))
    height = _field(content, 'image_height', path.name, _whole)
    width = _field(content, 'image_width', path.name, _whole)
    place = None
    if content.get('fixed_from_camera') is not None:
        place = _field(content, 'fixed_from_camera', path.name, lambda value: matrix(value, 4, 4))
        se3.require_rigid(place, f'fixed_from_camera of {path.name}')
    return CameraFile(Camera(K, height, width), place, lens)


def _lens(content: dict[str, Any], name: str) -> Lens | None:
    stated = content.get('distortion_coefficients')
    if stated is None:
        return None
    values = stated.get('data') if isinstance(stated, dict) else stated
    coefficients = _checked(values, f'distortion_coefficients of {name}', numbers_of)
    try:
        return lens_of(str(content.get('distortion_model', '')), coefficients)
    except CameraError as error:
        raise CameraError(error.code, f'{name}: {error}') from None


def _field(content: dict[str, Any], key: str, name: str, read: Callable[[Any], T]) -> T:
    if key not in content:
        raise CameraError(ErrorCode.CAMERA_INVALID, f'{name} has no {key}')
    return _checked(content[key], f'{key} of {name}', read)


def _checked(value: Any, where: str, read: Callable[[Any], T]) -> T:
    try:
        return read(value)
    except ValueError as error:
        raise CameraError(ErrorCode.CAMERA_INVALID, f'{where}: {error}') from None


def _whole(value: Any) -> int:
    number = number_of(value)
    if number != int(number) or number < 1:
        raise ValueError(f'{value} is no number of pixels')
    return int(number)
