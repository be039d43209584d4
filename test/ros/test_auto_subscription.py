import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from ros.harness import Client
from std_msgs.msg import Header

from sph_reg_ros.messages.sequence_gaps import SequenceGaps
from sph_reg_ros.ros.auto_subscription import AutoSubscription

pytestmark = pytest.mark.ros
TOPIC = 'numbered'


@pytest.fixture
def client():
    with Client() as client:
        yield client


@pytest.fixture
def heard(client):
    return []


@pytest.fixture
def subscription(client, heard):
    group = MutuallyExclusiveCallbackGroup()
    return AutoSubscription(
        client.node, Header, TOPIC, heard.append, reliability='auto', depth=1, group=group
    )


def publisher_of(client, subscription, number):
    """Return a new publisher that is the one of so many that the subscription knows of."""
    publisher = client.node.create_publisher(Header, TOPIC, 10)
    client.spin_until(publisher.get_subscription_count)
    client.spin_until(lambda: client.node.count_publishers(TOPIC) == number)
    subscription.follow_publishers()
    return publisher


def publish(client, publisher, heard, names):
    for name in names:
        publisher.publish(Header(frame_id=name))
    client.spin_until(lambda: heard and heard[-1].frame_id == names[-1])


def test_messages_that_a_full_queue_replaced_are_counted(client, subscription, heard):
    publisher = publisher_of(client, subscription, 1)
    publish(client, publisher, heard, 'a')
    publish(client, publisher, heard, 'bcde')
    # Nobody took them in while they came: the queue holds one.
    assert len(heard) + subscription.missing == 5
    assert subscription.missing >= 1


def test_another_publisher_numbers_as_it_likes(client, subscription, heard):
    first = publisher_of(client, subscription, 1)
    for name in 'abc':
        publish(client, first, heard, name)
    second = publisher_of(client, subscription, 2)
    for publisher, name in ((second, 'd'), (first, 'e'), (second, 'f')):
        publish(client, publisher, heard, name)
    client.node.destroy_publisher(second)
    client.spin_until(lambda: client.node.count_publishers(TOPIC) == 1)
    subscription.follow_publishers()
    for name in 'gh':
        publish(client, first, heard, name)
    assert subscription.missing == 0


def test_a_middleware_that_does_not_number_its_messages_loses_none():
    gaps = SequenceGaps()
    for info in ({}, {'publication_sequence_number': 2**64 - 1}) * 2:
        gaps.note(info)
    assert gaps.missing == 0


def test_the_numbers_between_two_messages_are_those_of_missing_ones():
    gaps = SequenceGaps()
    for number in (4, 5, 8, 9):
        gaps.note({'publication_sequence_number': number})
    assert gaps.missing == 2
    gaps.restart()
    gaps.note({'publication_sequence_number': 20})
    assert gaps.missing == 2
