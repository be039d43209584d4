"""The node among others: strangers' messages, clocks that jump, files it may not read, secrets."""

import signal
import time
import xml.etree.ElementTree as ElementTree
from functools import partial

import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from action_msgs.msg import GoalStatus
from ct_files import PATIENT_ID, PATIENT_NAME, Phantom, write_dicom
from diagnostic_msgs.msg import DiagnosticArray
from hypothesis import HealthCheck, given, settings
from reliability import record, repetitions
from ros.actions import finish, goal_for, good, send, verified
from ros.harness import (
    FIXED,
    REPOSITORY,
    Client,
    NodeProcess,
    sound_node,
)
from ros.test_reliability_inputs import images
from sph_reg_ros.msg import RegistrationStatus
from sph_reg_ros.srv import LoadCT

from sph_reg_ros.errors import ErrorCode
from sph_reg_ros.imaging.load import load_ct

pytestmark = pytest.mark.ros
SECOND = 1_000_000_000
POLICY = REPOSITORY / 'security' / 'registration.policy.xml'


@pytest.fixture(scope='module')
def series(ct_path, tmp_path_factory):
    """Return the phantom as DICOM, in a folder that bears the patient's name like its files."""
    ct = load_ct(ct_path)
    folder = tmp_path_factory.mktemp('allowed') / PATIENT_NAME
    return write_dicom(folder, Phantom(ct.hounsfield, ct.ct_from_index))


@pytest.fixture(scope='module')
def node(series, tmp_path_factory):
    log = tmp_path_factory.mktemp('log') / 'node.log'
    settings = {
        'ct__path': series,
        'autostart': True,
        'paths__allowed': f"['{series.parent}']",
        'diagnostics__period': 0.2,
    }
    with sound_node(log, **settings) as process:
        yield process


@pytest.fixture(scope='module')
def client(client):
    client.listen(DiagnosticArray, '/diagnostics', 'diagnostics')
    return client


def test_the_security_policy_lists_exactly_what_the_node_offers_and_hears(client, node):
    graph = partial(names_of, client.node)
    found = {
        'publish': graph('get_publisher_names_and_types_by_node'),
        'subscribe': graph('get_subscriber_names_and_types_by_node'),
        'reply': graph('get_service_names_and_types_by_node'),
    }
    actions = {name.partition('/_action/')[0] for name in found['reply'] if '/_action/' in name}
    found = {
        kind: {name for name in names if '/_action/' not in name} for kind, names in found.items()
    }
    # Heard only if use_sim_time is set, or if tf2 is needed.
    found['subscribe'] |= {'/clock', '/tf', '/tf_static'}
    assert found | {'execute': actions} == policy_names()


def names_of(node, query: str) -> set[str]:
    return {name for name, _ in getattr(node, query)('registration', '/')}


def policy_names() -> dict[str, set[str]]:
    """Return the full names that the policy allows, by what may be done with them."""
    profile = ElementTree.parse(POLICY).find('.//profile[@node="registration"]')
    allowed: dict[str, set[str]] = {}
    for group in profile:
        ((verb, value),) = group.items()
        assert value == 'ALLOW'
        allowed[verb] = {full_name(entry.text) for entry in group}
    return allowed


def full_name(name: str) -> str:
    return name.replace('~', '/registration', 1) if name[0] in '~/' else f'/{name}'


def test_strangers_images_do_no_harm(client, scene, node):
    received = client.status(client.received['status'][-1].state).images_received
    count = repetitions(40, 2_000)

    @settings(max_examples=count, deadline=None, suppress_health_check=list(HealthCheck))
    @given(images())
    def flood(image):
        client.publishers.image.publish(image)
        client.spin(0.0)

    with Client('stranger'):  # a second publisher of the same topics
        flood()
        client.spin(0.5)
        good(client, scene)
    status = client.received['status'][-1]
    assert status.images_received > received and status.images_refused > 0
    assert client.get_state() == 'active'
    refusals = node.log.count('image refused')
    record('P12 over DDS', f'{count} images: 0 crashes, next image registered')
    record(
        'P13', f'{status.images_refused} images refused and counted, {refusals} lines in the log'
    )


def test_repeated_warnings_are_throttled(client, scene, node):
    start, before = time.monotonic(), node.log.count('image refused')
    for _ in range(30):
        client.publish_xray(scene, edit=lambda m: setattr(m.image.header, 'frame_id', ''))
        client.spin(0.02)
    lines = node.log.count('image refused') - before
    assert lines <= 1 + (time.monotonic() - start) / 5 + 1


def test_a_publisher_that_starts_again_is_heard(client, scene):
    for _ in range(repetitions(1, 10)):
        with Client('restarted') as restarted:
            restarted.wait_until_heard()
            restarted.spin(0.5)
            good(restarted, scene)
    client.wait_until_heard()
    record('P25 publisher restart', 'the next image is registered')


def test_a_late_comer_knows_the_state_at_once(client, scene):
    good(client, scene)
    start = time.monotonic()
    with Client('late') as late:
        late.spin_until(lambda: late.received['status'])
        record('P25 late joiner', f'latched status after {time.monotonic() - start:.2f} s')


def test_goals_can_be_cancelled_again_and_again(client):
    cycles, slowest_s = repetitions(5, 1000), 0.0
    for _ in range(cycles):
        handle = send(client, goal_for())
        assert handle.accepted
        start = time.monotonic()
        client.spin_until(handle.cancel_goal_async().done)
        assert finish(client, handle)[0] == GoalStatus.STATUS_CANCELED
        slowest_s = max(slowest_s, time.monotonic() - start)
    record('P22', f'{cycles} goals cancelled, 0 stuck, slowest {1000 * slowest_s:.0f} ms')


def test_a_running_registration_is_cancelled_soon(client, scene):
    feedback: list = []
    slowest_s = 0.0
    for _ in range(repetitions(1, 50)):
        feedback.clear()
        handle = send(client, goal_for([scene], scene.fixed_from_patient), feedback.append)
        client.spin_until(lambda: feedback)
        start = time.monotonic()
        client.spin_until(handle.cancel_goal_async().done)
        finish(client, handle)
        slowest_s = max(slowest_s, time.monotonic() - start)
    record('P22 while registering', f'slowest {1000 * slowest_s:.0f} ms')


REFUSED = [
    '/etc/passwd', 'ct.nii.gz', '{allowed}/../../etc', '{allowed}/link', 'http://example.org/ct',
    'file:///etc/passwd', '{allowed}/{name}/../../..', '~/ct.nii.gz', '', '/proc/self/mem',
]  # fmt: skip


@pytest.mark.parametrize('path', REFUSED)
def test_a_path_outside_of_what_is_allowed_is_refused_and_changes_nothing(
    client, scene, series, path
):
    link = series.parent / 'link'
    if not link.is_symlink():
        link.symlink_to('/etc')
    path = path.format(allowed=series.parent, name=series.name)
    response = client.call(LoadCT, 'load_ct', LoadCT.Request(path=path))
    assert response.error.code == ErrorCode.PATH_NOT_ALLOWED, response.message
    assert client.received['status'][-1].ct_series_uid_hash


def test_after_refused_paths_the_ct_is_still_there_and_may_be_loaded_again(client, scene, series):
    good(client, scene)
    response = client.call(LoadCT, 'load_ct', LoadCT.Request(path=str(series)), 60)
    assert response.success, response.message
    good(client, scene)


def test_the_patients_name_is_in_no_log_and_no_message(client, scene, series, node):
    missing = client.call(LoadCT, 'load_ct', LoadCT.Request(path=str(series / 'missing')), 60)
    broken = series.parent / f'{PATIENT_NAME}.nii.gz'
    broken.write_bytes(b'no CT')
    spoilt = client.call(LoadCT, 'load_ct', LoadCT.Request(path=str(broken)), 60)
    assert (missing.error.code, spoilt.error.code) == (ErrorCode.CT_UNREADABLE,) * 2
    assert client.call(LoadCT, 'load_ct', LoadCT.Request(path=str(series)), 60).success
    good(client, scene)
    client.spin_until(lambda: len(client.received['diagnostics']) > 1)
    said = node.log + missing.message + spoilt.message + repr(dict(client.received))
    assert len(said) > 10_000
    for secret in (PATIENT_ID, *PATIENT_NAME.split('^'), 'Thorax'):
        assert secret not in said
    record('P29', 'planted name, ID and description in no log, message or diagnostics')


def test_a_clock_that_jumps_withdraws_the_patient(tmp_path, ct_path, scene):
    own = {'namespace': '/jumping', 'frames__patient': 'jumping', 'use_sim_time': True}
    limits = {'validity__duration': 5.0, 'image__max_age': 1.0}
    settings = {'ct__path': ct_path, 'autostart': True, 'diagnostics__period': 0.2}
    with (
        NodeProcess(tmp_path / 'log', **own, **limits, **settings) as node,
        Client(namespace='/jumping') as client,
    ):
        node.wait_for_log('activate: done', 120)
        begin_ns = 1_000 * SECOND
        client.set_clock(begin_ns)
        verified(client, scene, begin_ns)
        status = client.status(RegistrationStatus.VERIFIED)
        assert status.valid_until.sec == 1_005
        client.set_clock(begin_ns + SECOND)
        client.lookup(FIXED, 'jumping', begin_ns + SECOND)  # time goes on: it is sent again
        later_ns = begin_ns + 11 * SECOND
        client.set_clock(later_ns)
        client.status(RegistrationStatus.STALE)
        verified(client, scene, later_ns)
        client.set_clock(begin_ns)  # a bag that starts again
        client.status(RegistrationStatus.READY)
        assert 'the clock went back' in node.log
        verified(client, scene, begin_ns)
        client.status(RegistrationStatus.VERIFIED)
        assert node.stop(signal.SIGINT, timeout_s=40)[0] == 0
    record('P25 clock', '+11 s: STALE; -11 s: withdrawn, READY, next image registered')


def test_a_node_without_parameters_publishes_nothing_and_says_what_is_missing(tmp_path):
    own = {'namespace': '/bare'}
    with NodeProcess(tmp_path / 'log', **own) as node, Client(namespace='/bare') as client:
        client.status(RegistrationStatus.UNCONFIGURED, 60)
        assert client.change_state('configure')
        node.wait_for_log('ct.path is empty: load a CT by ~/load_ct')
        assert not client.change_state('activate')
        error = client.status(RegistrationStatus.ERROR)
        assert error.error.code == ErrorCode.CT_NOT_LOADED and 'ct.path' in error.error_message
        assert client.node.count_subscribers('/bare/image') == 0
        client.spin(0.5)
        assert not client.received['result']
    record('P28', 'stays inactive, names ct.path, no result and no transform')
