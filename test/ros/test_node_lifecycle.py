"""Start, stop and what can go wrong on the way, from every state."""

import os
import signal
import time
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from localizer_files import SIDE, localizer_dataset, philips, write_study
from reliability import RECORD, record, repetitions
from ros.actions import OFFSET
from ros.harness import (
    FIXED,
    IMAGER,
    REPOSITORY,
    Client,
    NodeProcess,
    error_mm,
    make_scene,
    moved,
    xray_messages,
)
from sph_reg_ros.msg import RegistrationStatus
from sph_reg_ros.srv import LoadCT
from tf2_msgs.msg import TFMessage
from tiny_networks import write_networks

from sph_reg_ros.errors import ErrorCode
from sph_reg_ros.imaging.load import load_ct
from sph_reg_ros.messages.conversions import transform_message
from sph_reg_ros.ros.transforms import TF_QOS

pytestmark = pytest.mark.ros
SIGNALS = [signal.SIGINT, signal.SIGTERM]
READY = 'research use only'
STOPS_WITHIN_S = 3.0 if RECORD else 15.0
"""The promise where nothing else runs; other work must not fail a test."""


def assert_clean_stop(node: NodeProcess, number: signal.Signals) -> None:
    code, seconds = node.stop(number, STOPS_WITHIN_S)
    assert code == 0, node.log
    assert 'Traceback' not in node.log and 'ERROR' not in node.log, node.log
    assert seconds < STOPS_WITHIN_S


@pytest.mark.parametrize('number', SIGNALS)
def test_a_signal_ends_an_unconfigured_node(tmp_path, number):
    with NodeProcess(tmp_path / 'log') as node, Client() as client:
        client.status(RegistrationStatus.UNCONFIGURED)
        assert_clean_stop(node, number)


@pytest.mark.parametrize('number', SIGNALS)
def test_a_signal_ends_a_node_that_is_being_configured(tmp_path, ct_path, number):
    with NodeProcess(tmp_path / 'log', ct__path=ct_path, autostart=True) as node:
        node.wait_for_log(READY)
        assert_clean_stop(node, number)


@pytest.mark.parametrize('number', SIGNALS)
def test_a_signal_ends_a_configured_node(tmp_path, number):
    with NodeProcess(tmp_path / 'log') as node, Client() as client:
        assert client.change_state('configure')
        assert_clean_stop(node, number)


@pytest.mark.parametrize('number', SIGNALS)
def test_a_signal_ends_an_active_node(tmp_path, ct_path, number):
    with NodeProcess(tmp_path / 'log', ct__path=ct_path, autostart=True) as node:
        node.wait_for_log('activate: done', 90)
        assert_clean_stop(node, number)


@pytest.mark.parametrize('number', SIGNALS)
def test_a_signal_ends_a_node_that_registers(tmp_path, ct_path, number):
    scene = make_scene(ct_path)
    with (
        NodeProcess(tmp_path / 'log', ct__path=ct_path, autostart=True) as node,
        Client() as client,
    ):
        node.wait_for_log('activate: done', 90)
        client.wait_until_heard()
        client.publish_initial_pose(moved(scene.fixed_from_patient, *OFFSET))
        client.publish_xray(scene)
        client.status(RegistrationStatus.REGISTERING)
        assert_clean_stop(node, number)


def test_services_answer_while_the_node_is_being_configured(tmp_path, ct_path):
    with NodeProcess(tmp_path / 'log', ct__path=ct_path) as node, Client() as client:
        # Found by discovery before the seconds that count begin.
        assert not client.change_state('activate')
        assert client.get_state() == 'unconfigured'
        request = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE))
        configured = client.clients['change_state'].call_async(request)
        assert client.spin_until(lambda: client.get_state() == 'configuring')
        assert not client.change_state('configure')
        client.spin_until(configured.done, 90)
        assert configured.result().success, node.log


def test_a_failed_configure_says_why_and_can_be_repeated(tmp_path):
    with NodeProcess(tmp_path / 'log', ct__path=tmp_path / 'missing') as node, Client() as client:
        for _ in range(2):
            assert not client.change_state('configure')
            status = client.status(RegistrationStatus.ERROR)
            assert status.error.code == ErrorCode.CT_UNREADABLE
            assert client.get_state() == 'unconfigured'
        assert 'configure failed' in node.log and 'CT_UNREADABLE' in node.log
        assert 'Traceback' not in node.log


def test_the_whole_cycle_can_be_repeated(tmp_path, ct_path):
    with NodeProcess(tmp_path / 'log', ct__path=ct_path) as node, Client() as client:
        cycles = repetitions(2, 1000)
        for _ in range(cycles):
            for transition in ('configure', 'activate', 'deactivate', 'activate', 'deactivate'):
                assert client.change_state(transition), node.log
            assert client.change_state('cleanup')
        record('P23', f'{cycles} cycles of six transitions, 0 failures')
        threads = len(list(Path(f'/proc/{node.process.pid}/task').iterdir()))
        assert threads < 80, 'threads pile up'
        assert_clean_stop(node, signal.SIGINT)


def test_a_missing_folder_of_networks_is_found_before_anything_is_loaded(tmp_path, ct_path):
    path = tmp_path / 'networks'
    with (
        NodeProcess(tmp_path / 'log', ct__path=ct_path, weights__path=path) as node,
        Client() as client,
    ):
        assert not client.change_state('configure')
        assert client.status(RegistrationStatus.ERROR).error.code == ErrorCode.WEIGHTS_MISSING
        assert 'loaded' not in node.log


def test_with_networks_an_xray_is_registered_without_initial_pose(tmp_path, ct_path):
    scene = make_scene(ct_path)
    near = torch.from_numpy(moved(scene.camera_from_ct, *OFFSET))
    write_networks(tmp_path / 'networks/phantom', load_ct(ct_path), scene.camera, near)
    settings = {'ct__path': ct_path, 'autostart': True, 'weights__path': tmp_path / 'networks'}
    with NodeProcess(tmp_path / 'log', **settings) as node, Client() as client:
        node.wait_for_log('activate: done', 180)
        assert 'networks phantom' in node.log
        client.wait_until_heard()
        client.spin(0.5)  # the other topics, too
        stamp = client.publish_xray(scene)
        result = client.result_of(stamp)
        assert result.error.code == ErrorCode.NONE, result.error_message
        assert result.method == 'spherical'
        patient = client.lookup(FIXED, 'patient', stamp)
        assert error_mm(patient, scene.fixed_from_patient, scene) < 1.0


def test_a_node_that_stops_leaves_no_shared_memory(tmp_path):
    with NodeProcess(tmp_path / 'log') as node:
        node.wait_for_log(READY)
        maps = Path(f'/proc/{node.process.pid}/maps').read_text().splitlines()
        # Ports are shared with whoever else is there, and go with the last of them.
        segments = {Path(line.split()[-1]) for line in maps if '/dev/shm/fastrtps_' in line}
        segments = {path for path in segments if '_port' not in path.name}
        assert_clean_stop(node, signal.SIGINT)
    assert not [path for path in segments if path.exists()]
    record('P23', f'{len(segments)} segments of shared memory, none left after the end')


def test_without_a_ct_the_node_stays_inactive_until_one_is_loaded(tmp_path, ct_path):
    scene = make_scene(ct_path)
    with (
        NodeProcess(tmp_path / 'log', use_imager_pose=False, frames__patient='spine') as node,
        Client() as client,
    ):
        request = LoadCT.Request(path=str(ct_path))
        response = client.call(LoadCT, 'load_ct', request)
        assert response.error.code == ErrorCode.NOT_ACTIVE
        assert client.change_state('configure')
        assert not client.change_state('activate')
        assert client.status(RegistrationStatus.ERROR).error.code == ErrorCode.CT_NOT_LOADED
        assert client.get_state() == 'inactive'
        assert client.call(LoadCT, 'load_ct', request, 60).success
        assert client.change_state('activate')
        client.wait_until_heard()
        # No imager pose: the patient hangs on the imager, under the name that was asked for.
        client.publish_initial_pose(moved(scene.camera_from_ct, *OFFSET), IMAGER)
        stamp = client.publish_xray(scene)
        assert client.result_of(stamp).error.code == ErrorCode.NONE
        patient = client.lookup(IMAGER, 'spine', stamp)
        assert error_mm(patient, scene.camera_from_ct, scene) < 1.0
        assert client.change_state('deactivate') and client.change_state('cleanup')
        assert client.get_state() == 'unconfigured'
        assert client.status(RegistrationStatus.UNCONFIGURED).ct_series_uid_hash == ''
        assert_clean_stop_after_errors(node)


def test_a_missing_package_fails_the_transition_and_is_named_once(tmp_path, ct_path):
    package = tmp_path / 'hidden' / 'numba'
    package.mkdir(parents=True)
    (package / '__init__.py').write_text("raise ModuleNotFoundError('No', name='numba')\n")
    paths = [package.parent, REPOSITORY, os.environ.get('PYTHONPATH', '')]
    environment = {'PYTHONPATH': os.pathsep.join(map(str, paths))}
    settings = {'autostart': True, 'ct__path': ct_path, 'environment': environment}
    with NodeProcess(tmp_path / 'log', **settings) as node, Client() as client:
        status = client.status(RegistrationStatus.ERROR)
        assert status.error.code == ErrorCode.DEPENDENCY_MISSING
        assert 'pip install numba' in status.error_message
        assert client.get_state() == 'unconfigured'
        client.spin(1.0)
        assert node.log.count('the Python package numba is missing') == 1
        assert_clean_stop_after_errors(node)


def test_a_c_arm_that_is_not_on_tf_is_named_until_it_is(tmp_path, ct_path):
    by_tf = {'imager_pose__source': 'tf', 'imager_pose__fixed_frame': FIXED}
    settings = {'autostart': True, 'ct__path': ct_path, **by_tf}
    with NodeProcess(tmp_path / 'log', **settings) as node, Client() as client:
        client.node.destroy_publisher(client.publishers.image)
        client.status(RegistrationStatus.READY, 90)
        begun = time.monotonic()

        def last_error() -> str:
            return client.received['status'][-1].error_message

        client.spin_until(lambda: 'no transform arrives on /tf' in last_error())
        assert time.monotonic() - begun < 5
        # The pictures that the node itself publishes are no X-rays.
        assert 'nobody publishes /image' in last_error() and 'overlay' not in last_error()
        publisher = client.node.create_publisher(TFMessage, '/tf', TF_QOS)
        client.spin_until(publisher.get_subscription_count)
        arm = transform_message(np.eye(4), FIXED, 'arm', client.new_stamp())
        publisher.publish(TFMessage(transforms=[arm]))
        client.spin_until(lambda: 'no transform' not in last_error())
        assert client.received['status'][-1].error.code == ErrorCode.IMAGE_MISSING
        assert_clean_stop(node, signal.SIGINT)


@pytest.mark.parametrize('assumed', [False, True])
def test_load_ct_takes_a_file_without_orientation_only_if_the_parameter_says_so(
    tmp_path, ct_path, assumed
):
    image = nibabel.load(ct_path)
    image.set_sform(None, 0)
    image.set_qform(None, 0)
    path = tmp_path / 'unoriented.nii'
    nibabel.save(image, path)
    with NodeProcess(tmp_path / 'log', ct__assume_lps=assumed), Client() as client:
        assert client.change_state('configure')
        response = client.call(LoadCT, 'load_ct', LoadCT.Request(path=str(path)), 60)
        assert response.success == assumed, response.message
        assert ('left, back, head' if assumed else 'ct.assume_lps') in response.message


def test_status_says_what_came_of_the_localizer_of_a_study(tmp_path):
    study = write_study(tmp_path / 'study', localizer_dataset(SIDE, philips))
    with NodeProcess(tmp_path / 'log', autostart=True) as node, Client() as client:
        client.status(RegistrationStatus.INACTIVE)
        request = LoadCT.Request(path=str(study))
        response = client.call(LoadCT, 'load_ct', request, 120)
        assert response.success, response.message
        client.spin_until(lambda: client.received['status'][-1].self_test)
        (line,) = client.received['status'][-1].self_test
        assert 'lateral localizer' in line and 'mm along the table' in line
        assert f'self-test {line}' in node.log


def test_an_autostarted_node_without_a_ct_becomes_active_once_one_is_loaded(tmp_path, ct_path):
    with NodeProcess(tmp_path / 'log', autostart=True) as node, Client() as client:
        client.status(RegistrationStatus.INACTIVE)
        assert 'failed' not in node.log
        request = LoadCT.Request(path=str(ct_path))
        assert client.call(LoadCT, 'load_ct', request, 60).success
        assert client.get_state() == 'active'
        # Once started, it stays where it is put.
        assert client.change_state('deactivate')
        assert client.call(LoadCT, 'load_ct', request, 60).success
        assert client.get_state() == 'inactive'


def test_images_are_answered_while_simulated_time_stands_still(tmp_path, ct_path):
    scene = make_scene(ct_path)
    settings = {'autostart': True, 'ct__path': ct_path, 'use_sim_time': True}
    with NodeProcess(tmp_path / 'log', **settings), Client() as client:
        client.status(RegistrationStatus.READY)
        client.wait_until_heard()
        stamp = time.time_ns()
        client.publishers.image.publish(xray_messages(scene, stamp).image)
        assert client.result_of(stamp).error.code == ErrorCode.IMAGE_STAMP
        client.set_clock(stamp)
        stamp += 1
        client.publishers.image.publish(xray_messages(scene, stamp).image)
        assert client.result_of(stamp).error.code == ErrorCode.CAMERA_MISSING
        client.listen(DiagnosticArray, '/diagnostics', 'diagnostics')
        client.spin_until(lambda: client.received['diagnostics'])


def assert_clean_stop_after_errors(node: NodeProcess) -> None:
    assert node.stop()[0] == 0
    assert 'Traceback' not in node.log


@pytest.mark.parametrize(
    ('parameters', 'reason'),
    [
        ({'ct__pth': 'x'}, "unknown parameter 'ct.pth': did you mean 'ct.path'?"),
        ({'matching__timeout': -1.0}, 'matching.timeout must lie in'),
        ({'matching__timeout': 'soon'}, 'matching.timeout must be a valid number'),
        ({'registration__levels': '[4]'}, 'levels must be 12 px or more'),
    ],
)
def test_a_wrong_parameter_stops_the_start_by_name(tmp_path, parameters, reason):
    with NodeProcess(tmp_path / 'log', **parameters) as node:
        assert node.process.wait(20) == 2
        assert reason in node.log and 'Traceback' not in node.log


def test_a_misspelt_parameter_in_a_file_stops_the_start_too(tmp_path):
    file = tmp_path / 'parameters.yaml'
    file.write_text('registration:\n  ros__parameters:\n    imge:\n      i0: 1.0\n')
    with NodeProcess(tmp_path / 'log', params_file=file) as node:
        assert node.process.wait(20) == 2
        assert "did you mean 'image.i0'" in node.log


def test_the_shipped_parameter_file_is_accepted_in_any_namespace(tmp_path):
    file = REPOSITORY / 'config' / 'registration.yaml'
    changed = tmp_path / 'changed.yaml'
    changed.write_text(file.read_text().replace('autostart: false', 'autostart: true'))
    with NodeProcess(tmp_path / 'log', params_file=changed, namespace='/or/left') as node:
        node.wait_for_log('ct.path is empty')
