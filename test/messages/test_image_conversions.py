"""Image and CameraInfo messages to NumPy and back."""

import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from sph_reg_ros.errors import CameraError, ErrorCode, ImageError, RegistrationError
from sph_reg_ros.messages import image_conversions
from sph_reg_ros.messages.image_conversions import (
    DTYPES,
    array_from_image,
    image_from_array,
    intrinsics_from_camera_info,
)

pytestmark = pytest.mark.ros
RNG = np.random.default_rng(0)
# Other work on the machine must not fail a test.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def image_message(pixels: np.ndarray, encoding: str, *, big: bool = False, padding: int = 0):
    stored = pixels.astype(pixels.dtype.newbyteorder('>' if big else '<'))
    rows = [row.tobytes() + b'\xff' * padding for row in stored]
    message = Image(height=pixels.shape[0], width=pixels.shape[1], encoding=encoding)
    message.step, message.is_bigendian, message.data = len(rows[0]), int(big), b''.join(rows)
    return message


@pytest.mark.parametrize('padding', [0, 3, 8])
@pytest.mark.parametrize('big', [False, True])
@pytest.mark.parametrize('encoding', ['mono8', 'mono16', '32FC1', '8UC1', '16UC1'])
def test_every_layout_gives_the_same_pixels_in_native_order(encoding, big, padding):
    pixels = (RNG.random((5, 7)) * 250).astype(DTYPES[encoding])
    read = array_from_image(image_message(pixels, encoding, big=big, padding=padding))
    assert np.array_equal(read, pixels) and read.dtype == pixels.dtype and read.dtype.isnative


@pytest.mark.parametrize('big', [False, True])
def test_signed_counts_are_read_as_long_as_none_is_negative(big):
    pixels = RNG.integers(0, 2**15, (5, 7)).astype('i2')
    read = array_from_image(image_message(pixels, '16SC1', big=big, padding=2))
    assert np.array_equal(read, pixels) and read.dtype == np.uint16
    pixels[2, 3] = -7
    with pytest.raises(ImageError, match='negative counts, down to -7') as caught:
        array_from_image(image_message(pixels, '16SC1', big=big))
    assert caught.value.code == ErrorCode.IMAGE_CONTENT


def test_a_native_image_is_not_copied():
    message = image_message(np.arange(6, dtype='u2').reshape(2, 3), 'mono16', padding=2)
    assert np.shares_memory(array_from_image(message), np.frombuffer(message.data, np.uint8))


@pytest.mark.parametrize('encoding', ['mono8', 'mono16', '32FC1'])
def test_images_make_the_round_trip(encoding):
    pixels = (RNG.random((4, 6)) * 250).astype(DTYPES[encoding])
    message = image_from_array(pixels, Header(frame_id='f'))
    assert (message.encoding, message.header.frame_id) == (encoding, 'f')
    assert np.array_equal(array_from_image(message), pixels)


def test_big_endian_and_transposed_arrays_are_written_right():
    pixels = np.arange(6, dtype='>u2').reshape(2, 3).T
    assert np.array_equal(array_from_image(image_from_array(pixels, Header())), pixels)


def test_a_colour_image_is_rgb8():
    message = image_from_array(np.zeros((2, 3, 3), np.uint8), Header())
    assert (message.encoding, message.step, len(message.data)) == ('rgb8', 9, 18)


def test_a_large_image_is_converted_without_touching_every_element():
    pixels = np.zeros((1024, 1024), np.uint16)
    message = image_from_array(pixels, Header())
    start = time.perf_counter()
    for _ in range(5):
        array_from_image(image_from_array(pixels, message.header))
    # Lists or element-wise checks take 60 ms and more each.
    assert (time.perf_counter() - start) / 5 < 0.03


def broken(**changes) -> Image:
    message = image_message(np.zeros((3, 4), np.uint16), 'mono16')
    for name, value in changes.items():
        setattr(message, name, value)
    return message


@pytest.mark.parametrize(
    'message',
    [
        broken(height=0),
        broken(width=0),
        broken(width=5),
        broken(step=7),
        broken(step=0),
        broken(height=4),
        broken(height=2),
        broken(data=b'\0' * 23),
        broken(data=b''),
        broken(width=65535, height=65535, step=2**31),
    ],
)
def test_a_layout_that_does_not_add_up_is_refused(message):
    with pytest.raises(ImageError) as caught:
        array_from_image(message)
    assert caught.value.code == ErrorCode.IMAGE_LAYOUT


@pytest.mark.parametrize('encoding', ['', 'rgb8', 'bayer_rggb8', '32SC1', 'MONO16', '64FC1'])
def test_other_encodings_name_the_accepted_ones_without_cv_bridge(monkeypatch, encoding):
    monkeypatch.setattr(image_conversions, '_cv_bridge', lambda: None)
    with pytest.raises(ImageError, match='mono8, mono16, 32FC1') as caught:
        array_from_image(broken(encoding=encoding))
    assert caught.value.code == ErrorCode.IMAGE_ENCODING


@pytest.mark.parametrize(
    ('encoding', 'target'),
    [
        ('rgb8', 'mono8'),
        ('bgra8', 'mono8'),
        ('bayer_rggb16', 'mono16'),
        ('rgb16', 'mono16'),
        ('64FC1', '32FC1'),
        ('32SC1', '32FC1'),
    ],
)
def test_other_encodings_go_through_cv_bridge_where_there_is_one(monkeypatch, encoding, target):
    asked = []

    class CvBridge:
        def imgmsg_to_cv2(self, image, desired):
            asked.append(desired)
            return np.ones((3, 4), np.uint16)

    monkeypatch.setattr(image_conversions, '_cv_bridge', lambda: SimpleNamespace(CvBridge=CvBridge))
    assert array_from_image(broken(encoding=encoding)).shape == (3, 4)
    assert asked == [target]


@pytest.mark.parametrize('encoding', ['rgb8', 'bgr8', 'rgba8', 'bgra8', 'rgb16', 'bgra16'])
def test_the_real_cv_bridge_gives_the_grey_of_equal_channels(encoding):
    bridge = pytest.importorskip('cv_bridge', reason='cv_bridge is not installed')
    if not hasattr(bridge, 'CvBridge'):
        pytest.skip('the cv_bridge of ROS 1 is installed')
    deep = encoding.endswith('16')
    grey = RNG.integers(0, 2 ** (16 if deep else 8), (5, 7)).astype('u2' if deep else 'u1')
    channels = np.dstack([grey] * 3 + [np.full_like(grey, 255)] * ('a' in encoding))
    read = array_from_image(image_message(channels, encoding))
    assert np.array_equal(read, grey) and read.dtype == grey.dtype


@pytest.mark.parametrize('encoding', ['64FC1', '32SC1'])
def test_the_real_cv_bridge_turns_other_numbers_into_float(encoding):
    bridge = pytest.importorskip('cv_bridge', reason='cv_bridge is not installed')
    if not hasattr(bridge, 'CvBridge'):
        pytest.skip('the cv_bridge of ROS 1 is installed')
    pixels = RNG.integers(0, 1000, (5, 7)).astype({'64FC1': 'f8', '32SC1': 'i4'}[encoding])
    read = array_from_image(image_message(pixels, encoding))
    assert np.array_equal(read, pixels) and read.dtype == np.float32


def test_what_cv_bridge_cannot_read_is_a_typed_error(monkeypatch):
    class CvBridge:
        def imgmsg_to_cv2(self, image, desired):
            raise KeyError(desired)

    monkeypatch.setattr(image_conversions, '_cv_bridge', lambda: SimpleNamespace(CvBridge=CvBridge))
    with pytest.raises(ImageError, match='cv_bridge cannot read'):
        array_from_image(broken(encoding='yuv422'))


def test_the_cv_bridge_of_ros_1_is_not_used(monkeypatch):
    monkeypatch.setitem(sys.modules, 'cv_bridge', SimpleNamespace())
    image_conversions._cv_bridge.cache_clear()
    assert image_conversions._cv_bridge() is None
    image_conversions._cv_bridge.cache_clear()


@PATIENT
@given(
    st.sampled_from(['mono8', 'mono16', '32FC1', 'rgb8', '']),
    st.integers(0, 6),
    st.integers(0, 6),
    st.integers(0, 40),
    st.integers(0, 255),
    st.binary(max_size=160),
)
def test_any_message_gives_pixels_or_a_typed_error(encoding, height, width, step, big, data):
    message = Image(height=height, width=width, encoding=encoding, step=step, is_bigendian=big)
    message.data = data
    try:
        pixels = array_from_image(message)
    except RegistrationError as error:
        assert str(error)
    else:
        assert pixels.shape == (height, width)


def camera_info(**changes) -> CameraInfo:
    info = CameraInfo(height=60, width=80)
    info.k = [100.0, 0.0, 39.5, 0.0, 110.0, 29.5, 0.0, 0.0, 1.0]
    info.p = [90.0, 0.0, 40.0, 0.0, 0.0, 95.0, 30.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    for name, value in changes.items():
        if name == 'k':
            for index, entry in value.items():
                info.k[index] = entry
        else:
            setattr(info, name, value)
    return info


def test_a_raw_image_is_described_by_k():
    K = intrinsics_from_camera_info(camera_info(), (60, 80))
    assert np.array_equal(K, [[100, 0, 39.5], [0, 110, 29.5], [0, 0, 1]])


def test_a_rectified_image_is_described_by_p_whatever_the_distortion():
    info = camera_info(d=[0.1, 0.2])
    K = intrinsics_from_camera_info(info, (60, 80), rectified=True)
    assert np.array_equal(K, [[90, 0, 40], [0, 95, 30], [0, 0, 1]])


def test_region_of_interest_and_binning_move_the_pixels_of_a_point():
    info = camera_info(binning_x=2, binning_y=4)
    info.roi.x_offset, info.roi.y_offset, info.roi.width, info.roi.height = 10, 20, 40, 32
    K = intrinsics_from_camera_info(info, (8, 20))
    u, v = 100 * 0.1 + 39.5, 110 * -0.05 + 29.5
    expected = [(u - 10 + 0.5) / 2 - 0.5, (v - 20 + 0.5) / 4 - 0.5]
    assert np.allclose((K @ [0.1, -0.05, 1])[:2], expected)


@pytest.mark.parametrize(
    ('changes', 'size', 'code'),
    [
        ({'k': {0: 0.0}}, (60, 80), ErrorCode.CAMERA_UNCALIBRATED),
        ({'k': {4: 0.0}}, (60, 80), ErrorCode.CAMERA_UNCALIBRATED),
        ({'k': {0: float('nan')}}, (60, 80), ErrorCode.CAMERA_INVALID),
        ({'k': {2: float('inf')}}, (60, 80), ErrorCode.CAMERA_INVALID),
        ({'k': {0: -100.0}}, (60, 80), ErrorCode.CAMERA_INVALID),
        ({'k': {8: 0.0}}, (60, 80), ErrorCode.CAMERA_INVALID),
        ({'k': {3: 1.0}}, (60, 80), ErrorCode.CAMERA_INVALID),
        ({'d': [0.1]}, (60, 80), ErrorCode.CAMERA_INVALID),
        ({}, (80, 60), ErrorCode.CAMERA_IMAGE_MISMATCH),
        ({'binning_x': 2}, (60, 80), ErrorCode.CAMERA_IMAGE_MISMATCH),
        ({'width': 0, 'height': 0}, (60, 80), ErrorCode.CAMERA_IMAGE_MISMATCH),
    ],
)
def test_a_camera_that_cannot_be_right_is_refused(changes, size, code):
    with pytest.raises(CameraError) as caught:
        intrinsics_from_camera_info(camera_info(**changes), size)
    assert caught.value.code == code
