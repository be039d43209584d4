"""Simulator and node in their own processes: what arrives over DDS fits the truth."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip('rclpy')
pytest.importorskip('diffdrr.renderers')

from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from ros.harness import (
    DOMAIN,
    FIXED,
    IMAGER,
    LATCHED,
    REPOSITORY,
    Client,
    NodeProcess,
    make_scene,
    write_phantom_ct,
)
from sensor_msgs.msg import CameraInfo, Image
from sph_reg_ros.msg import RegistrationResult, RegistrationStatus
from std_srvs.srv import Trigger

from sph_reg_ros.evaluation.carm import CArmGeometry
from sph_reg_ros.evaluation.metrics import pose_error
from sph_reg_ros.geometry.box import landmark_grid
from sph_reg_ros.messages.conversions import matrix_from_pose, nanoseconds

pytestmark = pytest.mark.ros
GEOMETRY = {'height': 96, 'width': 96, 'pixel_pitch_mm': 3.5}
# A third of a voxel of the phantom, whose blobs say little about rotation; a mistake in a frame
# makes centimetres.
LARGEST_IN_PLANE_MM, LARGEST_ROTATION_DEG = 1.0, 1.5


class SimulatorProcess(NodeProcess):
    """carm_simulator in a process of its own."""

    def __init__(self, log_path: Path, **parameters: object):
        environment = os.environ | {
            'ROS_DOMAIN_ID': str(DOMAIN),
            'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
            'ROS_LOG_DIR': str(log_path.parent),
            'PYTHONPATH': os.pathsep.join([str(REPOSITORY), os.environ.get('PYTHONPATH', '')]),
        }
        arguments = ['--ros-args', '--params-file', str(REPOSITORY / 'config/simulator.yaml')]
        for name, value in parameters.items():
            text = str(value).lower() if isinstance(value, bool) else str(value)
            arguments += ['-p', f'{name.replace("__", ".")}:={text}']
        self.log_path = log_path
        with log_path.open('wb') as log:
            self.process = subprocess.Popen(
                [sys.executable, '-m', 'sph_reg_ros.ros.simulator', *arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=log_path.parent,
            )


@pytest.fixture
def phantom(tmp_path) -> Path:
    return write_phantom_ct(tmp_path / 'phantom.nii.gz')


@pytest.fixture
def client():
    with Client('simulator_test') as client:
        for kind, topic in (
            (Image, 'image'),
            (CameraInfo, 'camera_info'),
            (PoseStamped, 'imager_pose'),
            (PoseStamped, 'ground_truth'),
        ):
            client.listen(kind, topic, topic)
        client.listen(PoseWithCovarianceStamped, 'initial_pose', 'initial_pose', LATCHED)
        yield client


def expose(client: Client) -> Trigger.Response:
    service = client.node.create_client(Trigger, '/carm_simulator/expose')
    client.spin_until(service.service_is_ready, 60.0)
    future = service.call_async(Trigger.Request())
    client.spin_until(future.done)
    client.node.destroy_client(service)
    return future.result()


def simulator(tmp_path: Path, phantom: Path, **more: object) -> SimulatorProcess:
    settings = {f'geometry__{name}': value for name, value in GEOMETRY.items()} | more
    return SimulatorProcess(tmp_path / 'simulator.log', ct__path=phantom, **settings)


def test_one_exposure_is_consistent_and_stamped_once(tmp_path, phantom, client):
    with simulator(tmp_path, phantom, images=1) as process:
        assert expose(client).success
        image = client.spin_until(lambda: client.received['image'], 60.0)[0]
        companions = ('camera_info', 'imager_pose', 'ground_truth')
        client.spin_until(lambda: all(client.received[topic] for topic in companions))
        initial = client.spin_until(lambda: client.received['initial_pose'])[0]
        info, imager, truth = (client.received[topic][0] for topic in companions)
        stamp = nanoseconds(image.header.stamp)
        assert {nanoseconds(m.header.stamp) for m in (info, imager, truth)} == {stamp}
        assert (image.encoding, image.height, image.width) == ('mono16', 96, 96)
        assert (imager.header.frame_id, truth.header.frame_id) == (FIXED, IMAGER)
        assert initial.header.frame_id == FIXED
        assert info.k[0] == pytest.approx(1020.0 / 3.5)
        on_tf = client.tf.lookup(FIXED, IMAGER, stamp)
        np.testing.assert_allclose(on_tf, matrix_from_pose(imager.pose), atol=1e-6)
        start = np.linalg.inv(on_tf) @ matrix_from_pose(initial.pose.pose)
        wrong = start @ np.linalg.inv(matrix_from_pose(truth.pose))
        assert 1e-3 < np.linalg.norm(wrong - np.eye(4))
        refused = expose(client)
        assert not refused.success and 'have been taken' in refused.message
        code, _ = process.stop(signal.SIGTERM)
        assert code == 0, process.log
        assert 'Traceback' not in process.log


def test_the_patient_looked_up_on_tf_lies_where_it_really_is(tmp_path, phantom, client):
    settings = {'autostart': True, 'ct__path': phantom, 'registration__levels': '[32, 64, 96]'}
    with (
        NodeProcess(tmp_path / 'node.log', **settings),
        simulator(
            tmp_path, phantom, images=2, wait_for_subscribers=2, orbit__primary_start_deg=20.0
        ),
    ):
        client.status(RegistrationStatus.READY, 90.0)
        centre = make_scene(phantom).volume.centre
        landmarks_mm = landmark_grid(centre, (40.0, 40.0, 40.0))
        for number in range(1, 3):
            assert expose(client).success
            client.spin_until(lambda n=number: len(client.received['image']) == n, 60.0)
            stamp = nanoseconds(client.received['image'][-1].header.stamp)
            result = client.result_of(stamp, 90.0)
            assert result.verdict == RegistrationResult.VERIFIED, result
            client.spin(0.2)
            found = client.tf.lookup(IMAGER, 'patient', stamp)
            truth = matrix_from_pose(client.received['ground_truth'][-1].pose)
            poses = torch.from_numpy(found), torch.from_numpy(truth)
            error = pose_error(*poses, landmarks_mm, CArmGeometry(**GEOMETRY).camera, 3.5)
            assert error.in_plane_mm < LARGEST_IN_PLANE_MM
            assert error.rotation_deg < LARGEST_ROTATION_DEG
        status = client.status(RegistrationStatus.VERIFIED)
        assert (status.images_received, status.images_registered) == (2, 2)


def test_no_image_is_taken_before_enough_nodes_listen(tmp_path, phantom, client):
    with simulator(tmp_path, phantom, wait_for_subscribers=2):
        assert expose(client).success
        client.spin(3.0)
        assert not client.received['image']
        start_s = time.monotonic()
        client.listen(Image, 'image', 'second')
        client.spin_until(lambda: client.received['image'] and client.received['second'], 60.0)
        # The other topics of a listener need a moment more.
        assert time.monotonic() - start_s > 0.45


def test_a_ct_that_is_not_there_ends_the_simulator_with_the_reason(tmp_path):
    with SimulatorProcess(tmp_path / 'simulator.log', ct__path='/not/there') as process:
        assert process.process.wait(60.0) == 1
        assert 'there is no CT' in process.log
        assert 'Traceback' not in process.log
