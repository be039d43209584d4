"""Transforms on /tf, with tf2_ros and without it."""

import math

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from geometry_msgs.msg import Vector3
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from ros.harness import Client, moved
from tf2_msgs.msg import TFMessage

from sph_reg_ros.messages.conversions import transform_message
from sph_reg_ros.messages.tf_buffer import CACHE_NS, LookupFailedError, TFBuffer
from sph_reg_ros.ros.transforms import TransformPublisher, tf2_ros

pytestmark = pytest.mark.ros
SECOND = 1_000_000_000
T0 = 1_700_000_000 * SECOND
BASE_FROM_ARM = moved(np.eye(4), 0.1, 0.2, 0.3, 10.0, 20.0, 30.0)
BASE_FROM_PATIENT = moved(np.eye(4), -0.5, 0.4, 0.0, -100.0, 0.0, 50.0)


def message(matrix, parent, child, stamp_ns=T0) -> TFMessage:
    return TFMessage(transforms=[transform_message(matrix, parent, child, stamp_ns)])


@pytest.fixture
def buffer() -> TFBuffer:
    buffer = TFBuffer()
    buffer.add(message(BASE_FROM_ARM, 'base', 'arm'))
    buffer.add(message(BASE_FROM_PATIENT, 'base', 'patient'))
    return buffer


def test_a_chain_goes_up_and_down_the_tree(buffer):
    expected = np.linalg.inv(BASE_FROM_ARM) @ BASE_FROM_PATIENT
    assert np.allclose(buffer.lookup('arm', 'patient', T0), expected)
    assert np.allclose(buffer.lookup('patient', 'arm', T0), np.linalg.inv(expected))
    assert np.allclose(buffer.lookup('arm', 'arm', T0), np.eye(4))


def test_between_two_stamps_the_transform_is_interpolated(buffer):
    turn = moved(np.eye(4), 0.0, 0.0, math.pi / 2, 0.0, 0.0, 0.0)
    turn[:3, 3] = [100.0, 0.0, 0.0]
    for stamp, matrix in ((T0, np.eye(4)), (T0 + SECOND, turn)):
        buffer.add(message(matrix, 'base', 'swing', stamp))
    half = buffer.lookup('base', 'swing', T0 + SECOND // 2)
    assert np.allclose(half[:3, 3], [50, 0, 0])
    assert np.allclose(half[:2, :2], [[math.sqrt(0.5), -math.sqrt(0.5)], [math.sqrt(0.5)] * 2])


@pytest.mark.parametrize('offset', [-1, 1])
def test_nothing_is_extrapolated(buffer, offset):
    with pytest.raises(LookupFailedError, match='newest'):
        buffer.lookup('arm', 'patient', T0 + offset)


def test_the_latest_is_found_by_time_zero(buffer):
    newer = moved(BASE_FROM_PATIENT, 0, 0, 0, 1.0, 0, 0)
    buffer.add(message(newer, 'base', 'patient', T0 + SECOND))
    assert np.allclose(buffer.lookup('base', 'patient', 0), newer)


def test_frames_without_a_link_are_named(buffer):
    with pytest.raises(LookupFailedError, match='no link between moon and base < arm|moon'):
        buffer.lookup('base', 'moon', T0)


def test_a_static_transform_holds_at_any_time(buffer):
    buffer.add(message(BASE_FROM_ARM, 'patient', 'mark'), static=True)
    assert np.allclose(buffer.lookup('patient', 'mark', T0 + 99 * SECOND), BASE_FROM_ARM)


def test_old_transforms_are_forgotten_and_refused_until_the_buffer_is_cleared(buffer):
    buffer.add(message(BASE_FROM_ARM, 'patient', 'mark'), static=True)
    newer = T0 + CACHE_NS + 1
    buffer.add(message(BASE_FROM_ARM, 'base', 'arm', newer))
    buffer.add(message(np.eye(4), 'base', 'arm', T0))
    with pytest.raises(LookupFailedError):
        buffer.lookup('base', 'arm', T0)
    assert np.allclose(buffer.lookup('base', 'arm', newer), BASE_FROM_ARM)
    buffer.clear()
    buffer.add(message(np.eye(4), 'base', 'arm', T0))
    assert np.allclose(buffer.lookup('base', 'arm', T0), np.eye(4))
    assert np.allclose(buffer.lookup('patient', 'mark', T0), BASE_FROM_ARM)


def test_time_zero_is_the_newest_time_that_all_links_have(buffer):
    newer = moved(BASE_FROM_ARM, 0.4, 0, 0, 1.0, 0, 0)
    buffer.add(message(newer, 'base', 'arm', T0 + SECOND))
    expected = np.linalg.inv(BASE_FROM_ARM) @ BASE_FROM_PATIENT
    assert np.allclose(buffer.lookup('arm', 'patient', 0), expected)


def test_far_frames_are_fine_and_what_tf2_refuses_is_left_out(buffer):
    far = moved(np.eye(4), 0, 0, 0.3, 40_000.0, -9_000.0, 0)
    for matrix, parent, child, spoil in (
        (far, '/map', 'base', lambda t: None),
        (far, 'map', 'map', lambda t: None),
        (far, 'map', '', lambda t: None),
        (far, 'map', 'arm', lambda t: setattr(t.transform.translation, 'x', math.nan)),
        (far, 'map', 'arm', lambda t: setattr(t.transform.rotation, 'w', 0.0)),
    ):
        tf = message(matrix, parent, child)
        spoil(tf.transforms[0])
        buffer.add(tf)
    assert np.allclose(buffer.lookup('map', '/arm', T0), far @ BASE_FROM_ARM)


def test_transforms_of_a_frame_of_its_own_are_not_taken_in():
    buffer = TFBuffer(ignored=('patient',))
    buffer.add(message(BASE_FROM_PATIENT, 'base', 'patient'))
    with pytest.raises(LookupFailedError, match='no transform was received'):
        buffer.lookup('base', 'patient', T0)


BOTH = [
    False,
    pytest.param(
        True,
        marks=[
            pytest.mark.ros_full,
            pytest.mark.skipif(tf2_ros is None, reason='tf2_ros is not installed'),
        ],
    ),
]


@pytest.mark.parametrize('use_tf2_ros', BOTH)
def test_transforms_go_out_with_the_qos_of_tf2_and_are_heard(use_tf2_ros):
    with Client('sender') as sender, Client('listener') as listener:
        publisher = TransformPublisher(sender.node, use_tf2_ros=use_tf2_ros)
        listener.spin_until(lambda: sender.node.count_subscribers('/tf') > 1)
        (info,) = listener.spin_until(lambda: listener.node.get_publishers_info_by_topic('/tf'))
        assert info.qos_profile.reliability == ReliabilityPolicy.RELIABLE
        assert info.qos_profile.durability == DurabilityPolicy.VOLATILE
        publisher.send(message(BASE_FROM_PATIENT, 'base', 'patient').transforms)
        assert np.allclose(listener.lookup('base', 'patient', T0), BASE_FROM_PATIENT)


@pytest.mark.ros_full
@pytest.mark.skipif(tf2_ros is None, reason='tf2_ros is not installed')
@pytest.mark.parametrize('use_tf2_ros', [False, True])
def test_a_real_tf2_buffer_hears_us_and_agrees_with_ours(use_tf2_ros):
    from rclpy.time import Time

    from sph_reg_ros.messages.conversions import matrix_from_transform

    with Client('sender') as sender, Client('listener') as listener:
        tf2 = tf2_ros.Buffer(node=listener.node)
        tf2_ros.TransformListener(tf2, listener.node)
        publisher = TransformPublisher(sender.node, use_tf2_ros=use_tf2_ros)
        listener.spin_until(lambda: sender.node.count_subscribers('/tf') > 2)
        for parent, child, matrix in (
            ('base', 'arm', BASE_FROM_ARM),
            ('base', 'patient', BASE_FROM_PATIENT),
        ):
            publisher.send(message(matrix, parent, child).transforms)
        stamp = Time(nanoseconds=T0)
        listener.spin_until(lambda: tf2.can_transform('arm', 'patient', stamp))
        theirs = tf2.lookup_transform('arm', 'patient', stamp).transform
        ours = listener.lookup('arm', 'patient', T0)
        assert np.allclose(matrix_from_transform(theirs), ours, atol=1e-6)


@pytest.mark.ros_full
@pytest.mark.skipif(tf2_ros is None, reason='tf2_ros is not installed')
def test_our_buffer_answers_what_tf2_answers():
    """Links move or are static, and are told in any order, within ten seconds: versions differ in
    when they forget.
    """
    from rclpy.time import Time

    from sph_reg_ros.messages.conversions import matrix_from_transform

    rng, known, unknown = np.random.default_rng(0), 0, 0
    for _ in range(20):
        theirs, ours = tf2_ros.BufferCore(), TFBuffer()
        links = [('world', 'base'), ('base', 'arm'), ('arm', 'tool'), ('world', 'table')]
        for parent, child, second in rng.permutation(
            [(*link, second) for link in links for second in range(10) if rng.random() < 0.8]
        ):
            static = child == 'tool'
            stamp_ns = T0 + int(second) * SECOND
            matrix = moved(np.eye(4), *rng.normal(0, 1, 3), *rng.normal(0, 500, 3))
            tf = transform_message(matrix, str(parent), str(child), stamp_ns)
            (theirs.set_transform_static if static else theirs.set_transform)(tf, 'test')
            ours.add(TFMessage(transforms=[tf]), static=static)
        for stamp_ns in (0, T0, *(T0 + rng.integers(0, 10 * SECOND, 20))):
            frames = ['world', 'base', 'arm', 'tool', 'table']
            pair = rng.choice(frames, 2, replace=False).tolist()
            try:
                found = theirs.lookup_transform_core(*pair, Time(nanoseconds=int(stamp_ns)))
            except tf2_ros.TransformException:
                unknown += 1
                with pytest.raises(LookupFailedError):
                    ours.lookup(*pair, int(stamp_ns))
            else:
                known += 1
                expected = found.transform.translation, found.transform.rotation
                matrix = ours.lookup(*pair, int(stamp_ns))
                assert np.allclose(matrix[:3, 3], [1000 * getattr(expected[0], a) for a in 'xyz'])
                matrix[:3, 3] = 0
                found.transform.translation = Vector3()
                assert np.allclose(matrix, matrix_from_transform(found.transform), atol=1e-6)
    assert known > 100 and unknown > 50
