"""Images and intrinsics between messages and NumPy."""

import array
from functools import cache
from importlib import import_module
from types import ModuleType

import numpy as np
from jaxtyping import Float64, Shaped

from sph_reg_ros.errors import CameraError, ErrorCode, ImageError
from sph_reg_ros.imaging.xray.lens import Lens, lens_of
from sph_reg_ros.messages.message_types import Message, NewMessage, ros_message
from sph_reg_ros.plausible import require_possible

DTYPES = {
    'mono8': 'u1',
    'mono16': 'u2',
    '32FC1': 'f4',
    '8UC1': 'u1',
    '16UC1': 'u2',
    '16SC1': 'i2',
}
"""Encodings that are read without cv_bridge; the second half is what it calls plain arrays."""
_ENCODINGS = {'|u1': 'mono8', '<u2': 'mono16', '<f4': '32FC1'}


def array_from_image(image: Message) -> Shaped[np.ndarray, 'H W']:
    """Return the pixels of an image message in the machine's byte order.

    What DTYPES names is read without cv_bridge, either endianness, padded rows included; where the
    byte order is the machine's, the result is a view of the message's data. 16SC1 becomes uint16,
    as counts cannot be negative. Every other encoding goes through cv_bridge where that is
    installed: colour and Bayer patterns become grey of 8 or 16 bit, other numbers float32.

    Raises:
        ImageError: IMAGE_ENCODING, IMAGE_LAYOUT if size, step and data do not agree, or
            IMAGE_CONTENT if a count is negative.
    """
    if not image.height or not image.width:
        raise ImageError(
            ErrorCode.IMAGE_LAYOUT, f'the image has no pixels: {image.width} x {image.height}'
        )
    if image.encoding not in DTYPES:
        return _array_by_cv_bridge(image)
    dtype = np.dtype(('>' if image.is_bigendian else '<') + DTYPES[image.encoding])
    _require_layout(image, dtype.itemsize)
    pixels = np.ndarray(
        (image.height, image.width),
        dtype,
        np.frombuffer(image.data, np.uint8),
        strides=(image.step, dtype.itemsize),
    )
    pixels = pixels if dtype.isnative else pixels.astype(dtype.newbyteorder('='))
    return _unsigned(pixels) if dtype.kind == 'i' else pixels


def image_from_array(
    pixels: Shaped[np.ndarray, 'H W *c'], header: Message, new: NewMessage = ros_message
) -> Message:
    """Return the Image of a mono8, mono16 or 32FC1 array [H, W], or of an rgb8 one [H, W, 3]."""
    little = np.ascontiguousarray(pixels.astype(pixels.dtype.newbyteorder('<'), copy=False))
    encoding = 'rgb8' if pixels.ndim == 3 else _ENCODINGS[little.dtype.str]
    # Any other sequence is checked element by element, which takes 100 times as long.
    data = array.array('B')
    data.frombytes(little.tobytes())
    return new(
        'sensor_msgs/Image',
        header=header,
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        step=little.strides[0],
        data=data,
    )


def camera_info_from_intrinsics(
    K: Float64[np.ndarray, '3 3'],
    size: tuple[int, int],
    header: Message,
    new: NewMessage = ros_message,
) -> Message:
    """Return the CameraInfo of a camera without distortion whose image needs no rectification.

    Args:
        K: intrinsics (pixels).
        size: (height, width) of the image.
        header: stamp of the image, frame of the imager.
        new: makes messages.
    """
    return new(
        'sensor_msgs/CameraInfo',
        header=header,
        height=size[0],
        width=size[1],
        distortion_model='plumb_bob',
        d=[0.0] * 5,
        k=K.reshape(9),
        r=np.eye(3).reshape(9),
        p=np.hstack([K, np.zeros((3, 1))]).reshape(12),
    )


def intrinsics_from_camera_info(
    info: Message, size: tuple[int, int], *, rectified: bool = False
) -> Float64[np.ndarray, '3 3']:
    """Return the intrinsics K [3, 3] (pixels) of an image of this size (height, width).

    A raw image is described by K, with the distortion that `lens_from_camera_info` gives; a
    rectified one by the left 3 x 3 part of P. Region of interest and binning are applied; pixel
    centres are integers.

    Raises:
        CameraError: CAMERA_UNCALIBRATED if the focal length is zero, CAMERA_INVALID if a value
            makes no sense, CAMERA_IMAGE_MISMATCH if the sizes differ.
    """
    if rectified:
        K = np.asarray(info.p, dtype=np.float64).reshape(3, 4)[:, :3]
    else:
        K = np.asarray(info.k, dtype=np.float64).reshape(3, 3)
        lens_from_camera_info(info)
    _require_intrinsics(K, 'P' if rectified else 'K')
    expected = image_size(info)
    if expected != size:
        raise CameraError(
            ErrorCode.CAMERA_IMAGE_MISMATCH,
            f'camera_info is for {expected[1]} x {expected[0]} pixels, '
            f'the image has {size[1]} x {size[0]}',
        )
    roi = info.roi
    sx, sy = 1 / max(info.binning_x, 1), 1 / max(info.binning_y, 1)
    pixel_map = np.array(
        [
            [sx, 0, (0.5 - roi.x_offset) * sx - 0.5],
            [0, sy, (0.5 - roi.y_offset) * sy - 0.5],
            [0, 0, 1],
        ]
    )
    K = pixel_map @ K
    require_possible(K, size)
    return K


def lens_from_camera_info(info: Message) -> Lens | None:
    """Return the distortion D of a raw image; None if it has none.

    D is of points at depth 1, so that region of interest and binning do not change it.

    Raises:
        CameraError: CAMERA_INVALID if the model is unknown, or D does not fit it.
    """
    return lens_of(info.distortion_model, info.d)


def image_size(info: Message) -> tuple[int, int]:
    """Return the size (height, width) of the images of a CameraInfo, cropped and binned."""
    height, width = info.roi.height or info.height, info.roi.width or info.width
    return height // max(info.binning_y, 1), width // max(info.binning_x, 1)


def _require_layout(image: Message, itemsize: int) -> None:
    if image.step < image.width * itemsize:
        raise ImageError(
            ErrorCode.IMAGE_LAYOUT,
            f'step is {image.step} bytes, but {image.width} {image.encoding} pixels need '
            f'{image.width * itemsize}',
        )
    if len(image.data) != image.step * image.height:
        raise ImageError(
            ErrorCode.IMAGE_LAYOUT,
            f'the image has {len(image.data)} bytes, but {image.height} rows of {image.step} '
            f'bytes make {image.step * image.height}',
        )


def _array_by_cv_bridge(image: Message) -> Shaped[np.ndarray, 'H W']:
    cv_bridge = _cv_bridge()
    accepted = ', '.join(DTYPES)
    if cv_bridge is None:
        raise ImageError(
            ErrorCode.IMAGE_ENCODING,
            f'encoding {image.encoding!r} is not one of {accepted}: convert the image, or install '
            'cv_bridge for other encodings',
        )
    try:
        pixels = cv_bridge.CvBridge().imgmsg_to_cv2(image, _bridge_target(image.encoding))
    # cv_bridge lets errors of OpenCV and NumPy through, which have no common base.
    except Exception as error:
        raise ImageError(
            ErrorCode.IMAGE_ENCODING,
            f'cv_bridge cannot read encoding {image.encoding!r} ({type(error).__name__}); '
            f'use one of {accepted}',
        ) from None
    return np.asarray(pixels)


def _bridge_target(encoding: str) -> str:
    """Return an encoding that cv_bridge can turn this one into.

    It turns colour into grey of the same depth only, and refuses grey for numbers that are no
    colour, such as 64FC1.
    """
    if encoding.endswith('C1'):
        return '32FC1'
    return 'mono16' if '16' in encoding else 'mono8'


def _unsigned(pixels: Shaped[np.ndarray, 'H W']) -> Shaped[np.ndarray, 'H W']:
    lowest = int(pixels.min())
    if lowest < 0:
        raise ImageError(
            ErrorCode.IMAGE_CONTENT,
            f'the image has negative counts, down to {lowest}: publish what the detector counts, '
            'as mono16; line integrals as 32FC1',
        )
    return pixels.astype(pixels.dtype.str.replace('i', 'u'))


@cache
def _cv_bridge() -> ModuleType | None:
    try:
        cv_bridge = import_module('cv_bridge')
    except ImportError:
        return None
    # The package of this name on PyPI is the one of ROS 1.
    return cv_bridge if hasattr(cv_bridge, 'CvBridge') else None


def _require_intrinsics(K: Float64[np.ndarray, '3 3'], name: str) -> None:
    if not np.isfinite(K).all():
        raise CameraError(ErrorCode.CAMERA_INVALID, f'{name} has NaN or infinite values')
    fx, fy = float(K[0, 0]), float(K[1, 1])
    if fx == 0 or fy == 0:
        raise CameraError(
            ErrorCode.CAMERA_UNCALIBRATED,
            f'the focal length in {name} is 0: calibrate the imager or fill in its geometry '
            '(source-detector distance / pixel pitch)',
        )
    if fx < 0 or fy < 0:
        raise CameraError(
            ErrorCode.CAMERA_INVALID, f'the focal length in {name} is negative: {fx:g}, {fy:g}'
        )
    if K[1, 0] != 0 or not np.array_equal(K[2], (0, 0, 1)):
        raise CameraError(ErrorCode.CAMERA_INVALID, f'{name} is not an upper triangle ending in 1')
