"""The node where messages are lost, mixed and refused on their way, and where there is no network.

What is lost is lost by lossy_network.c, in the node's process only: on its way out and in.
"""

import os
import re
import shutil
import statistics
import struct
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from geometry_msgs.msg import PoseWithCovarianceStamped
from lifecycle_msgs.srv import GetState
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from reliability import RECORD, record, repetitions
from ros.actions import OFFSET, good
from ros.harness import (
    BEST_EFFORT,
    FIXED,
    LATCHED,
    RELIABLE,
    REPOSITORY,
    Client,
    error_mm,
    moved,
    sound_node,
    xray_messages,
)
from sph_reg_ros.msg import RegistrationResult, RegistrationStatus
from tf2_msgs.msg import TFMessage

from sph_reg_ros.errors import ErrorCode
from sph_reg_ros.messages.conversions import nanoseconds, time_message

pytestmark = pytest.mark.ros
LOST_PERCENT = 30
# What was lost is sent again after seconds, and may be lost again.
PATIENCE_S = 300.0
SHARED_MEMORY = re.compile(r'(<userTransports>\s*)<transport_id>shared_memory</transport_id>')
LATCHED_BEST_EFFORT = QoSProfile(
    depth=1,
    reliability=ReliabilityPolicy.BEST_EFFORT,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
PYTEST = ['pytest', '-q', '-p', 'no:cacheprovider']
OFFLINE = {
    'the command line': ['sph_reg_ros.cli', '--help'],
    'a registration of files': [*PYTEST, 'test/cli/test_register.py', '-k', 'json_is_all'],
    'the node': [*PYTEST, 'test/ros/test_node.py', '-k', 'tf2_can_look_up or all_that_is_needed'],
}


@pytest.fixture(scope='module')
def lossy(tmp_path_factory):
    """Return the environment of a process that loses UDP datagrams and has no other transport."""
    compiler = shutil.which('cc')
    if compiler is None or sys.platform != 'linux':
        pytest.skip('needs Linux and a C compiler')
    folder = tmp_path_factory.mktemp('lossy')
    library, profile = folder / 'lossy_network.so', folder / 'udp.xml'
    source = Path(__file__).with_name('lossy_network.c')
    command = [compiler, '-shared', '-fPIC', '-O2', source, '-o', library, '-ldl']
    subprocess.run(command, check=True)
    usual = (REPOSITORY / 'config' / 'fastdds_large_images.xml').read_text()
    udp_only, removed = SHARED_MEMORY.subn(r'\1', usual)
    assert removed == 1
    profile.write_text(udp_only)
    return {
        'LD_PRELOAD': str(library),
        'LOSSY_PERCENT': str(LOST_PERCENT),
        'LOSSY_COUNTS': str(folder / 'counts'),
        # With LOCALHOST the RMW adds shared memory of its own. The profile stays on 127.0.0.1, too.
        'ROS_AUTOMATIC_DISCOVERY_RANGE': 'SUBNET',
        'FASTDDS_DEFAULT_PROFILES_FILE': str(profile),
        'FASTRTPS_DEFAULT_PROFILES_FILE': str(profile),
    }


def datagrams(environment) -> tuple[int, int]:
    """Return how many datagrams there were, and how many of them were lost."""
    return struct.unpack('QQ', Path(environment['LOSSY_COUNTS']).read_bytes())


@pytest.mark.skipif(not RECORD, reason='waits long for what was lost: make reliability')
def test_xrays_and_services_are_answered_though_30_percent_of_all_datagrams_are_lost(
    lossy, tmp_path, ct_path, scene
):
    own = {'namespace': '/lossy', 'frames__patient': 'lossy', 'matching__timeout': 60.0}
    with (
        sound_node(
            tmp_path / 'log', environment=lossy, ct__path=ct_path, autostart=True, **own
        ) as node,
        Client(namespace='/lossy') as client,
    ):
        assert '/dev/shm/fast' not in Path(f'/proc/{node.process.pid}/maps').read_text()
        question = client.node.create_client(GetState, '/lossy/registration/get_state')
        client.listen(TFMessage, '/tf', 'tf')
        publish_until_verified(client, scene)
        count, xrays_s, enough = repetitions(1, 50), [], datagrams(lossy)[1] + 10
        while len(xrays_s) < count or datagrams(lossy)[1] < enough:
            xrays_s.append(seconds_to_patient(client, scene, len(xrays_s)))
        states_s = [seconds_to_state(client, question) for _ in range(count)]
        everything, lost = datagrams(lossy)
        with Client('sensor', image_qos=BEST_EFFORT, namespace='/lossy') as sensor:
            sent = publish_until_verified(sensor, scene, repetitions(1, 20))
    assert everything > 100 and 0.25 < lost / everything < 0.4
    record(
        'P25 packet loss',
        f'{lost} of {everything} datagrams lost: {len(xrays_s)} of {len(xrays_s)} X-rays VERIFIED '
        f'after {of(xrays_s)}, state told {count} times after {of(states_s)}, '
        f'{repetitions(1, 20)} of {sent} best-effort X-rays VERIFIED',
    )


def of(seconds: list[float]) -> str:
    return f'{statistics.median(seconds):.1f} s (slowest {max(seconds):.1f} s)'


def publish_until_verified(client: Client, scene, wanted: int = 1) -> int:
    """Publish X-rays until some are VERIFIED; return how many that took."""
    publishers = vars(client.publishers).values()
    client.spin_until(lambda: all(p.get_subscription_count() for p in publishers), PATIENCE_S)
    stamps, verified = set(), set()
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        # Again and again: if it is not latched, it reaches nobody who does not listen yet.
        client.publish_initial_pose(moved(scene.fixed_from_patient, *OFFSET))
        stamps.add(client.publish_xray(scene))
        client.spin(0.5)
        verified = stamps & verified_stamps(client)
        if len(verified) >= wanted:
            return len(stamps)
    raise AssertionError(f'{len(verified)} of {len(stamps)} X-rays were verified')


def verified_stamps(client: Client) -> set[int]:
    results = client.received['result']
    return {nanoseconds(r.header.stamp) for r in results if r.verdict == r.VERIFIED}


def seconds_to_patient(client: Client, scene, seed: int) -> float:
    """Return the time from an X-ray to its result and its transform."""
    start = time.monotonic()
    stamp = client.publish_xray(scene, seed)
    result = client.result_of(stamp, PATIENCE_S)
    assert result.verdict == RegistrationResult.VERIFIED, result.error_message
    # Not at the stamp itself: what comes 10 s late is older than what tf2 keeps.
    client.spin_until(lambda: newest_patient_ns(client) >= stamp, PATIENCE_S)
    patient = client.lookup(FIXED, 'lossy', newest_patient_ns(client), PATIENCE_S)
    assert error_mm(patient, scene.fixed_from_patient, scene) < 1.0
    return time.monotonic() - start


def newest_patient_ns(client: Client) -> int:
    sent = [transform for message in client.received['tf'] for transform in message.transforms]
    stamps = [nanoseconds(t.header.stamp) for t in sent if t.child_frame_id == 'lossy']
    return max(stamps, default=0)


def seconds_to_state(client: Client, question) -> float:
    start = time.monotonic()
    while time.monotonic() - start < PATIENCE_S:
        # Asked again: the node drops its answer while it does not know yet whom to send it to.
        future = question.call_async(GetState.Request())
        with suppress(AssertionError):
            client.spin_until(future.done, 10.0)
        if future.done():
            assert future.result().current_state.label == 'active'
            return time.monotonic() - start
    raise AssertionError('the node does not answer')


@pytest.fixture(scope='module')
def node(ct_path, tmp_path_factory):
    log = tmp_path_factory.mktemp('log') / 'node.log'
    with sound_node(log, ct__path=ct_path, autostart=True, diagnostics__period=0.1) as process:
        yield process


@pytest.mark.parametrize('qos', [LATCHED, LATCHED_BEST_EFFORT, RELIABLE, BEST_EFFORT])
def test_an_initial_pose_is_heard_however_it_is_published(client, scene, node, qos):
    client.publish_initial_pose(scene.fixed_from_patient, 'elsewhere')
    client.spin_until(lambda: refused_for_its_frame(client, scene))
    before = node.log.count('incompatible')
    with Client('planner') as planner:
        own = planner.node.create_publisher(PoseWithCovarianceStamped, 'initial_pose', qos)
        planner.publishers.initial_pose = own
        publish_until_verified(planner, scene)
    assert node.log.count('incompatible') == before


def refused_for_its_frame(client: Client, scene) -> bool:
    result = client.result_of(client.publish_xray(scene))
    return result.error.code == ErrorCode.TRANSFORM_MISSING and 'elsewhere' in result.error_message


@pytest.mark.parametrize(
    ('kind', 'topic'),
    [
        (RegistrationResult, '/registration/result'),
        (PoseWithCovarianceStamped, '/registration/pose'),
        (TFMessage, '/tf'),
    ],
)
def test_a_subscriber_that_asks_for_what_a_topic_does_not_have_is_warned_of(
    client, node, kind, topic
):
    before, start = len(node.log), time.monotonic()
    subscription = client.node.create_subscription(kind, topic, print, LATCHED)
    client.spin_until(lambda: warning_of(node, topic, before, 'DURABILITY'))
    record(f'P25 QoS of {topic}', f'warning after {time.monotonic() - start:.1f} s')
    client.node.destroy_subscription(subscription)


def warning_of(node, topic: str, begin: int, policy: str) -> str:
    """Return what the node has logged after so many characters of a topic's QoS policy, or ''."""
    name = re.escape(topic.rpartition('/')[2])
    found = re.search(rf'\[WARN\].*/{name}\b.*{policy}.*\n', node.log[begin:])
    return found.group() if found else ''


def test_images_of_a_quality_that_is_ruled_out_are_named_in_the_log_with_what_to_do(
    client, scene, node
):
    set_reliability(client, 'reliable')
    before = len(node.log)
    with Client('sensor', image_qos=BEST_EFFORT):
        start = time.monotonic()
        for topic in ('/image', '/camera_info', '/imager_pose'):
            said = client.spin_until(partial(warning_of, node, topic, before, 'RELIABILITY'))
            assert topic in said and 'set image.reliability to auto' in said
        record('P25 QoS of images', f'3 warnings after {time.monotonic() - start:.1f} s')
        good(client, scene)  # the others are heard as before
    set_reliability(client, 'auto')
    good(client, scene)


def set_reliability(client: Client, value: str) -> None:
    """Set image.reliability, which stays as it is while the node is active."""
    assert client.change_state('deactivate')
    text = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=value)
    parameters = [Parameter(name='image.reliability', value=text)]
    request = SetParametersAtomically.Request(parameters=parameters)
    answer = client.call(SetParametersAtomically, 'set_parameters_atomically', request)
    assert answer.result.successful, answer.result.reason
    assert client.change_state('activate')
    client.wait_until_heard()
    client.spin(0.5)


def test_xrays_of_two_publishers_at_once_are_answered_or_counted(client, scene, node):
    rounds, stamps, messages = repetitions(5, 100), [], xray_messages(scene, 0)
    with Client('second') as second:
        second.wait_until_heard()
        stamp = client.publish_xray(scene)
        client.status(RegistrationStatus.VERIFIED, stamp_ns=stamp)
        start = counts(client)
        for publisher in rounds * (client, second):
            stamps.append(publish_now(publisher, messages))
            client.spin_until(lambda: (counts(client) - start)[0] == len(stamps))
        client.spin_until(lambda: is_settled(client, start))
        _, answered, dropped = counts(client) - start
        results = [nanoseconds(r.header.stamp) for r in client.received['result']]
        assert len(set(results) & set(stamps)) == answered == len(stamps) - dropped
        for publisher in rounds * (client, second):  # now faster than they are taken
            publish_now(publisher, messages)
        for publisher in (client, second):
            publish_until_verified(publisher, scene)
        client.spin_until(lambda: is_settled(client, start))
    record(
        'P25 two publishers',
        f'of {len(stamps)} images {answered} answered, {dropped} dropped and counted',
    )


def test_after_a_burst_the_last_xray_is_the_one_that_is_registered(client, scene, node):
    bursts, size, messages = repetitions(2, 50), 200, xray_messages(scene, 0)
    good(client, scene)
    # The node counts nothing while it knows of two publishers, and one that has gone without a word
    # is known until its lease of 20 s ends.
    client.spin_until(lambda: is_counted(client, messages, size))
    before, known = arrived(client), client.received['status'][-1].images_lost
    for _ in range(bursts):
        last = publish_burst(client, messages, size)
        result = client.result_of(last)
        assert result.verdict == RegistrationResult.VERIFIED, result.error_message
        assert client.received['result'][-1] is result, 'an older X-ray came after it'
    client.spin_until(lambda: arrived(client) - before == bursts * size)
    lost = client.received['status'][-1].images_lost - known
    record(
        'P25 bursts',
        f'the last of {size} X-rays VERIFIED after {bursts} bursts, {lost} never came in: counted',
    )


def is_counted(client: Client, messages, size: int) -> bool:
    """Return whether the node knows of each image of a burst that it came or was lost."""
    before = arrived(client)
    client.result_of(publish_burst(client, messages, size))
    with suppress(AssertionError):
        client.spin_until(lambda: arrived(client) - before == size, 3.0)
        return True
    return False


def publish_burst(client: Client, messages, size: int) -> int:
    return [publish_now(client, messages) for _ in range(size)][-1]


def arrived(client: Client) -> int:
    """Return how many images the node has received, or knows that it has not."""
    status = client.received['status'][-1]
    return status.images_received + status.images_lost


def publish_now(client: Client, messages) -> int:
    stamp = client.new_stamp()
    for name in ('imager_pose', 'camera_info', 'image'):
        message = getattr(messages, name)
        message.header.stamp = time_message(stamp)
        getattr(client.publishers, name).publish(message)
    return stamp


def counts(client: Client) -> np.ndarray:
    """Return how many images the node has received, answered and dropped, as it says itself."""
    status = client.received['status'][-1]
    answered = status.images_registered + status.images_refused
    return np.array([status.images_received, answered, status.images_dropped])


def is_settled(client: Client, start: np.ndarray) -> bool:
    received, answered, dropped = counts(client) - start
    return received == answered + dropped


@pytest.fixture(scope='module')
def alone():
    """Return how to start a command where there is no network."""
    command = ['unshare', '--map-root-user', '--net']
    if not shutil.which('unshare') or subprocess.run([*command, 'true'], check=False).returncode:
        pytest.skip('this machine does not let its users have network namespaces')
    return [*command, sys.executable, str(Path(__file__).with_name('loopback_only.py'))]


@pytest.mark.parametrize('what', OFFLINE)
def test_without_a_network_everything_works_and_nothing_tries_to_reach_one(alone, what):
    environment = {name: text for name, text in os.environ.items() if name != 'RELIABILITY_RECORD'}
    done = subprocess.run(
        [*alone, sys.executable, '-m', *OFFLINE[what]],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    last = done.stdout.splitlines()[-1]
    assert last == 'attempts to reach another machine: 0'
    record(f'P30 {what}', f'works; {last}')
