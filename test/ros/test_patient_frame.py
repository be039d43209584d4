"""The patient that is sent again never speaks for the time of a newer X-ray."""

import threading

import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from geometry_msgs.msg import TransformStamped
from ros.harness import FIXED, Client

from sph_reg_ros.messages.conversions import NANOSECONDS, time_message
from sph_reg_ros.ros.patient_frame import PatientFrame

pytestmark = pytest.mark.ros
NAME = 'patient_of_this_test'


@pytest.fixture
def client():
    with Client() as client:
        yield client


@pytest.fixture
def frame(client):
    frame = PatientFrame(client.node, 0.02, lambda: None, lambda: None)
    frame.start()
    yield frame
    frame.stop()


def patient(stamp_ns: int) -> list[TransformStamped]:
    transform = TransformStamped(child_frame_id=NAME)
    transform.header.frame_id, transform.header.stamp = FIXED, time_message(stamp_ns)
    transform.transform.rotation.w = 1.0
    return [transform]


def stamps(client: Client) -> list[int]:
    edge = client.tf._edges.get(NAME)
    return [] if edge is None else list(edge.stamps)


def test_from_a_newer_xrays_stamp_on_nothing_is_sent_before_its_result(client, frame):
    now_ns = client.node.get_clock().now().nanoseconds
    frame.show(patient(now_ns), now_ns + 60 * NANOSECONDS, repeated=True)
    client.spin_until(lambda: len(stamps(client)) > 5)
    newer_ns = client.node.get_clock().now().nanoseconds
    frame.expect(newer_ns)
    client.spin(0.5)  # 25 periods
    assert max(stamps(client)) < newer_ns
    frame.show(patient(newer_ns), newer_ns + 60 * NANOSECONDS, repeated=True)
    client.spin_until(lambda: max(stamps(client)) > newer_ns)
    assert newer_ns in stamps(client)


def test_an_xray_that_has_had_its_result_is_not_waited_for_any_more(client, frame):
    now_ns = client.node.get_clock().now().nanoseconds
    frame.expect(now_ns + 1)
    frame.show(patient(now_ns), now_ns + 60 * NANOSECONDS, repeated=True)
    client.spin(0.5)  # 25 periods
    assert stamps(client) == [now_ns]
    frame.settle(now_ns + 1)
    client.spin_until(lambda: len(stamps(client)) > 5)


def test_an_xray_that_is_older_than_what_is_shown_is_not_waited_for(client, frame):
    now_ns = client.node.get_clock().now().nanoseconds
    frame.expect(now_ns - NANOSECONDS)
    frame.show(patient(now_ns), now_ns + 60 * NANOSECONDS, repeated=True)
    client.spin_until(lambda: len(stamps(client)) > 5)


def test_what_is_given_in_a_frame_that_may_move_is_sent_at_its_own_stamp_only(client, frame):
    now_ns = client.node.get_clock().now().nanoseconds
    frame.show(patient(now_ns), now_ns + 60 * NANOSECONDS, repeated=False)
    client.spin_until(lambda: stamps(client))
    client.spin(0.5)  # 25 periods
    assert stamps(client) == [now_ns] and frame.shown
    later_ns = client.node.get_clock().now().nanoseconds - NANOSECONDS // 10
    frame.show(patient(later_ns), later_ns + 60 * NANOSECONDS, repeated=False)
    client.spin_until(lambda: len(stamps(client)) > 1)
    client.spin(0.2)
    assert stamps(client) == [now_ns, later_ns]


def test_the_transform_of_an_xray_long_ago_is_sent_and_can_be_looked_up_for_a_second(client, frame):
    now_ns = client.node.get_clock().now().nanoseconds
    stamp_ns = now_ns - 12 * NANOSECONDS
    frame.show(patient(stamp_ns), now_ns + 60 * NANOSECONDS, repeated=True)
    client.spin_until(lambda: stamps(client))
    client.spin(0.5)  # 25 periods
    client.tf.lookup(FIXED, NAME, stamp_ns)
    client.tf.lookup(FIXED, NAME, 0)
    client.spin_until(lambda: max(stamps(client)) > now_ns)
    assert min(stamps(client)) >= now_ns + NANOSECONDS


def test_between_two_xrays_the_poses_of_both_are_not_mixed(client, frame):
    now_ns = client.node.get_clock().now().nanoseconds
    frame.show(patient(now_ns), now_ns + 60 * NANOSECONDS, repeated=True)
    client.spin_until(lambda: len(stamps(client)) > 5)
    newer_ns = client.node.get_clock().now().nanoseconds
    client.spin(0.1)  # until the X-ray arrives
    frame.expect(newer_ns)
    client.spin(0.5)  # it is registered
    last_ns = max(stamps(client))
    moved_on = patient(newer_ns)
    moved_on[0].transform.translation.x = 0.1
    frame.show(moved_on, newer_ns + 60 * NANOSECONDS, repeated=True)
    client.spin_until(lambda: max(stamps(client)) > last_ns + NANOSECONDS // 3)
    for stamp_ns in (newer_ns, last_ns + NANOSECONDS // 100, last_ns + NANOSECONDS // 4):
        assert client.tf.lookup(FIXED, NAME, stamp_ns)[0, 3] == pytest.approx(100.0)


def test_the_end_is_told_in_time_while_the_executor_is_held_up(client):
    expired = threading.Event()
    frame = PatientFrame(client.node, 0.02, expired.set, lambda: None)
    frame.start()
    now_ns = client.node.get_clock().now().nanoseconds
    frame.show(patient(now_ns), now_ns + NANOSECONDS // 10, repeated=True)
    # Nothing spins the node meanwhile.
    assert expired.wait(10.0) and not frame.shown
    assert client.node.get_clock().now().nanoseconds >= now_ns + NANOSECONDS // 10
    frame.stop()
    client.spin(0.2)
    assert max(stamps(client)) < now_ns + NANOSECONDS // 10
