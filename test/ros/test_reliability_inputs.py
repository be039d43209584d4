"""Whatever arrives is used or refused by a typed error; the real handlers, without the network."""

import array
import math
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

import rclpy
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rclpy.context import Context
from rclpy.parameter import Parameter
from reliability import record, repetitions
from ros.harness import FIXED, IMAGER, SIZE, moved
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from sph_reg_ros.errors import CameraError, ErrorCode, ImageError, PoseError, RegistrationError
from sph_reg_ros.messages.conversions import matrix_from_pose, pose_from_matrix, time_message
from sph_reg_ros.messages.image_age import require_present
from sph_reg_ros.messages.image_conversions import intrinsics_from_camera_info
from sph_reg_ros.messages.view_messages import initial_pose_from_message
from sph_reg_ros.ros.parameter_server import ParameterServer
from sph_reg_ros.service.frames import Frames
from sph_reg_ros.service.parameters import ImageParameters, NodeParameters
from sph_reg_ros.service.protocol import RegisterView
from sph_reg_ros.service.session import prepare_view
from sph_reg_ros.service.xray_stream import XRayStream
from sph_reg_ros.settings import specs

pytestmark = pytest.mark.ros
NOW_NS = 1_700_000_000_000_000_000
K = [280.0, 0, 47.5, 0, 280.0, 47.5, 0, 0, 1.0]


def fuzzed(short: int, full: int) -> settings:
    quiet = [HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(
        max_examples=repetitions(short, full), deadline=None, suppress_health_check=quiet
    )


NUMBERS = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, -1.0, math.nan, math.inf, -math.inf, 1e-320, 1e6, 1e300]),
    st.floats(),
)
HEADERS = st.builds(
    Header,
    frame_id=st.sampled_from(['', FIXED, IMAGER, 'x' * 300, 'ä\n']),
    stamp=st.one_of(
        st.just(time_message(NOW_NS)),
        st.builds(Time, sec=st.integers(-(2**31), 2**31 - 1), nanosec=st.integers(0, 2**32 - 1)),
    ),
)
GOOD_HEADER = st.just(Header(stamp=time_message(NOW_NS), frame_id=IMAGER))
USUAL = st.one_of(GOOD_HEADER, GOOD_HEADER, GOOD_HEADER, HEADERS)
SIZES = st.sampled_from([0, 1, 2, 16, 17, 65535, 2**32 - 1])
ENCODINGS = st.sampled_from(
    [*['mono8', 'mono16', '32FC1'] * 3, '16UC1', 'rgb8', 'bayer_rggb8', '', 'é']
)
FILLINGS = {'mono8': 'u1', 'mono16': '<u2', '32FC1': '<f4'}


@st.composite
def images(draw):
    """Draw an image message: often sound but for its content, sometimes with nothing right."""
    encoding = draw(ENCODINGS)
    image = Image(header=draw(USUAL), encoding=encoding, is_bigendian=draw(st.integers(0, 1)))
    if encoding in FILLINGS and draw(st.booleans()):
        kind = np.dtype(FILLINGS[encoding])
        image.height = image.width = 16
        image.step = 16 * kind.itemsize + draw(st.sampled_from([0, 0, 3]))
        data = content(draw, kind, image.step * image.height)
    else:
        image.height, image.width, image.step = draw(SIZES), draw(SIZES), draw(SIZES)
        data = draw(st.binary(max_size=64))
    cut = draw(st.sampled_from([0, 0, 0, 1, 7]))
    image.data = array.array('B', data[: len(data) - cut])
    return image


def content(draw, kind: np.dtype, length: int) -> bytes:
    """Return pixels: constant, saturated, random, or numbers that are none."""
    if draw(st.booleans()):
        return (bytes([draw(st.integers(0, 255))]) * length)[:length]
    values = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 60000, 2 * length)
    filling = values.astype(kind)
    if kind.kind == 'f':
        filling[: draw(st.integers(0, 20))] = draw(NUMBERS)
    return filling.tobytes()[:length]


@st.composite
def camera_infos(draw):
    info = CameraInfo(header=draw(USUAL), height=draw(SIZES), width=draw(SIZES))
    info.k = draw(st.one_of(st.just(K), st.lists(NUMBERS, min_size=9, max_size=9)))
    info.d = draw(st.lists(NUMBERS, max_size=2))
    info.binning_x, info.binning_y = draw(SIZES), draw(SIZES)
    info.roi.x_offset, info.roi.height, info.roi.width = draw(SIZES), draw(SIZES), draw(SIZES)
    return info


@st.composite
def poses(draw):
    pose = PoseStamped(header=draw(HEADERS))
    p, q = pose.pose.position, pose.pose.orientation
    p.x, p.y, p.z = draw(NUMBERS), draw(NUMBERS), draw(NUMBERS)
    q.x, q.y, q.z, q.w = draw(st.one_of(st.just((0.0, 0.0, 0.0, 1.0)), st.tuples(*[NUMBERS] * 4)))
    return pose


def good_info(size: int = 16) -> CameraInfo:
    header = Header(stamp=time_message(NOW_NS), frame_id=IMAGER)
    return CameraInfo(header=header, height=size, width=size, k=K)


def good_pose() -> PoseStamped:
    return PoseStamped(header=Header(stamp=time_message(NOW_NS), frame_id=FIXED))


def answers(image, info, pose) -> list:
    """Return what the handlers of the node make of three messages: views and errors."""
    found: list = []
    stream = XRayStream(
        NodeParameters,
        Frames(NodeParameters),
        found.append,
        lambda _, error: found.append(error),
        require_stamp=lambda stamp_ns: require_present(stamp_ns, NOW_NS, 1.0),
    )
    stream.add_camera_info(info)
    stream.add_imager_pose(pose)
    stream.add_image(image, 0.0)
    for now_s in (0.0, 100.0):
        stream.hand_on(stream.matches(now_s))
    return found


def judge(found: list) -> str:
    """Return 'view' or the error code; what the worker makes of the pixels is part of it."""
    (one,) = found
    if isinstance(one, RegistrationError):
        assert str(one)
        return one.code.name
    try:
        prepare_view(RegisterView(one.pixels, one.K), ImageParameters())
    except RegistrationError as error:
        return error.code.name
    return 'view'


def test_any_image_is_used_or_refused():
    kinds: dict[str, int] = {}

    @fuzzed(300, 10_000)
    @given(images())
    def fuzz(image):
        kind = judge(answers(image, good_info(), good_pose()))
        kinds[kind] = kinds.get(kind, 0) + 1

    fuzz()
    assert kinds.keys() >= {'view', 'IMAGE_LAYOUT', 'IMAGE_STAMP', 'IMAGE_CONTENT'}
    record('P12', f'{sum(kinds.values())} images: 0 crashes; ' + ', '.join(sorted(kinds)))


def test_any_camera_and_imager_pose_is_used_or_refused():
    header = Header(stamp=time_message(NOW_NS), frame_id=IMAGER)
    pixels = np.random.default_rng(0).integers(1, 60000, (16, 16)).astype('<u2')
    image = Image(header=header, height=16, width=16, step=32, encoding='mono16')
    image.data = array.array('B', pixels.tobytes())
    kinds = set()

    @fuzzed(300, 10_000)
    @given(camera_infos() | st.just(good_info()), poses() | st.just(good_pose()))
    def fuzz(info, pose):
        kinds.add(judge(answers(image, info, pose)))

    fuzz()
    assert kinds >= {'view', 'CAMERA_MISSING', 'POSE_INVALID'}


@fuzzed(200, 10_000)
@given(poses(), st.lists(NUMBERS, min_size=36, max_size=36) | st.just([0.0] * 36))
def test_any_initial_pose_is_rigid_and_near_or_refused(pose, covariance):
    message = PoseWithCovarianceStamped(header=pose.header)
    message.pose.pose, message.pose.covariance = pose.pose, covariance
    try:
        matrix = initial_pose_from_message(message).matrix
    except PoseError:
        return
    assert np.allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-9)
    assert np.linalg.det(matrix[:3, :3]) > 0 and np.linalg.norm(matrix[:3, 3]) <= 5000


CORRUPT = {
    'zero K': dict(k=[0.0] * 9),
    'fx = 0 (SDD 0)': dict(k0=0.0),
    'fy = 0': dict(k4=0.0),
    'NaN': dict(k0=math.nan),
    'infinite': dict(k2=math.inf),
    'fx < 0': dict(k0=-280.0),
    'fy < 0': dict(k4=-280.0),
    'SDD 1e9': dict(k0=2.8e11, k4=2.8e11),
    'SDD in m, pitch in mm': dict(k0=0.28, k4=0.28),
    'pitch in m': dict(k0=280e3, k4=280e3),
    'one pitch in m': dict(k0=280e3),
    'oblique': dict(k1=500.0),
    'lower triangle': dict(k3=1.0),
    'last row': dict(k8=2.0),
    'principal point elsewhere': dict(k2=1e5),
    'swapped width and height': dict(height=SIZE, width=SIZE + 32),
    'other size': dict(width=SIZE - 1),
    'no size': dict(height=0, width=0),
    'wrong binning': dict(binning_x=2, binning_y=2),
    'wrong region': dict(roi=32),
    'distortion': dict(d=[0.1]),
}  # fmt: skip


@pytest.mark.parametrize('name', CORRUPT)
def test_a_corrupted_camera_is_refused_with_its_figure(name):
    info = good_info(SIZE)
    for field, value in CORRUPT[name].items():
        if field.startswith('k') and len(field) > 1:
            info.k[int(field[1:])] = value
        elif field == 'roi':
            info.roi.height = info.roi.width = value
        else:
            setattr(info, field, value)
    with pytest.raises(CameraError) as caught:
        intrinsics_from_camera_info(info, (SIZE, SIZE))
    assert any(character.isdigit() for character in str(caught.value)) or 'NaN' in str(caught.value)


def test_there_are_twenty_corrupted_cameras_and_a_good_one_passes():
    assert intrinsics_from_camera_info(good_info(SIZE), (SIZE, SIZE))[0, 0] == K[0]
    record('P8', f'{len(CORRUPT)} of {len(CORRUPT)} corrupted cameras refused before the worker')
    assert len(CORRUPT) >= 20


def test_poses_come_back_to_a_billionth_and_millimetres_by_mistake_are_refused():
    rng, worst, count = np.random.default_rng(0), 0.0, repetitions(300, 10_000)
    for _ in range(count):
        matrix = moved(np.eye(4), *rng.uniform(-1.7, 1.7, 3), *rng.uniform(-1500, 1500, 3))
        again = matrix_from_pose(pose_from_matrix(matrix))
        worst = max(worst, np.abs(again - matrix).max() / np.abs(matrix).max())
    for _ in range(100):
        pose = good_pose().pose
        p = pose.position
        p.x, p.y, p.z = (rng.uniform(0.01, 2, 3) * 1000).tolist()
        with pytest.raises(PoseError, match='are the units metres'):
            matrix_from_pose(pose)
    assert worst < 1e-9
    record('P10', f'{worst:.1e} relative error over {count} poses; 100 of 100 in mm refused')


@pytest.mark.parametrize('seconds', [1.001, 3600.0, 1e9, -0.501, -3600.0])
def test_an_image_of_another_time_is_refused_with_the_seconds(seconds):
    with pytest.raises(ImageError, match=r'\d s (old|later)') as caught:
        require_present(NOW_NS - round(seconds * 1e9), NOW_NS, 1.0)
    assert caught.value.code == ErrorCode.IMAGE_STAMP


def test_an_image_of_the_present_passes_and_without_a_clock_none_does():
    for seconds in (0.0, 0.999, -0.499):
        require_present(NOW_NS - round(seconds * 1e9), NOW_NS, 1.0)
    with pytest.raises(ImageError, match='/clock'):
        require_present(NOW_NS, 0, 1.0)


@pytest.fixture
def server():
    context = Context()
    rclpy.init(context=context)
    node = rclpy.create_node('parameters', context=context, enable_rosout=False)
    server = ParameterServer(node, lambda fixed_while: fixed_while == 'running', NodeParameters)
    yield SimpleNamespace(node=node, server=server)
    node.destroy_node()
    rclpy.shutdown(context=context)


VALUES = st.one_of(
    st.booleans(),
    st.integers(1, 60),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(0.1, 1.0),
    st.floats(),
    st.text('ab./~', max_size=4),
    st.lists(st.integers(-9, 999), min_size=1, max_size=3),
    st.lists(st.text('ab/', max_size=3), min_size=1, max_size=2),
)


def test_any_parameters_are_taken_or_refused_with_a_reason_and_the_good_ones_kept(server):
    outcomes = {True: 0, False: 0}
    names = st.sampled_from(sorted(specs(NodeParameters)))

    @fuzzed(100, 5_000)
    @given(st.dictionaries(names, VALUES, min_size=1, max_size=3))
    def fuzz(values):
        before = server.server.tree
        result = server.node.set_parameters_atomically(
            [Parameter(name, value=value) for name, value in values.items()]
        )
        outcomes[result.successful] += 1
        assert result.successful or (result.reason and server.server.tree == before)

    fuzz()
    taken, refused = outcomes[True], outcomes[False]
    assert taken and refused
    record('P18', f'{taken} sets taken, {refused} refused with a reason, 0 crashes')
