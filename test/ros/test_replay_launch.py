"""`ros2 launch ... replay.launch.py` ends with the table and the poses of `sph-reg replay`."""

import os
import re
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('launch_ros')
pytest.importorskip('diffdrr.renderers')

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from bags import changed, replayed, simulated
from ros.domains import own_domain
from ros.harness import write_phantom_ct

from sph_reg_ros.messages.conversions import nanoseconds, time_message
from sph_reg_ros.replay.params_file import parameters_text, read_parameters
from sph_reg_ros.replay.record import BagRecord, record_from_json

pytestmark = [pytest.mark.ros_full, pytest.mark.slow]
# Not the domain of the other tests' nodes, which run in processes of their own.
DOMAIN = own_domain()
# Encoders are not read in the moment of the exposure.
LATER_NS = 8_000_000
LARGEST_DIFFERENCE = 1e-6  # mm and rad


@pytest.fixture(scope='module', autouse=True)
def package():
    try:
        get_package_share_directory('sph_reg_ros')
    except PackageNotFoundError:
        pytest.skip('the package is not installed in a ROS 2 workspace')


@pytest.fixture(scope='module')
def ct(tmp_path_factory):
    return write_phantom_ct(tmp_path_factory.mktemp('ct') / 'ct.nii.gz')


@pytest.fixture(scope='module')
def params(tmp_path_factory):
    given = ['registration.method:=image', 'registration.timeout:=300.0', 'worker.silence:=60.0']
    path = tmp_path_factory.mktemp('params') / 'params.yaml'
    path.write_text(parameters_text(read_parameters(None, given)))
    return path


@pytest.fixture(scope='module')
def bag(tmp_path_factory, ct):
    """A run whose imager poses come a little after the images that they belong to."""

    def delay(entry):
        if entry.topic == '/imager_pose':
            stamp_ns = nanoseconds(entry.message.header.stamp) + LATER_NS
            later = time_message(stamp_ns)
            entry.message.header.stamp.sec = later.sec
            entry.message.header.stamp.nanosec = later.nanosec
            entry.received_ns += LATER_NS

    folder = tmp_path_factory.mktemp('bags')
    even = simulated(ct, folder / 'even', '--size', 96, '--detector', 300)
    return changed(even, folder / 'run', delay)


@contextmanager
def launched(folder: Path, **arguments):
    """Give a running launch, and the path of what it prints."""
    words = [f'{name}:={value}' for name, value in arguments.items()]
    environment = os.environ | {
        'ROS_DOMAIN_ID': str(DOMAIN),
        'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
        'ROS_LOG_DIR': str(folder),
    }
    with (folder / 'launch.log').open('w') as log:
        process = subprocess.Popen(
            ['ros2', 'launch', 'sph_reg_ros', 'replay.launch.py', *words],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=folder,
        )
        try:
            yield process, folder / 'launch.log'
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.wait(60)


def exit_code(folder: Path, **arguments) -> tuple[int, str]:
    """Return exit code and output of a launch that ends by itself."""
    with launched(folder, **arguments) as (process, log):
        code = process.wait(400)
    return code, log.read_text()


def record_in(folder: Path) -> BagRecord:
    return record_from_json((folder / 'record.json').read_text())


def table(text: str) -> list[str]:
    """Return the lines from the head of the table to the summary."""
    lines = [line.removeprefix('[bag_player-2] ') for line in text.splitlines()]
    (first,) = [n for n, line in enumerate(lines) if line.startswith('mm: mean distance')]
    (last,) = [n for n, line in enumerate(lines) if 'images verified' in line]
    return lines[first : last + 1]


def differences(a: list, b: list) -> tuple[float, float]:
    """Return how far two poses (mm) are apart: mm, rad."""
    x, y = np.array(a), np.array(b)
    turn = x[:3, :3].T @ y[:3, :3]
    axis = turn[[2, 0, 1], [1, 2, 0]] - turn[[1, 2, 0], [2, 0, 1]]
    return np.linalg.norm(x[:3, 3] - y[:3, 3]), np.arcsin(min(1.0, np.linalg.norm(axis) / 2))


def test_live_and_offline_give_the_same_table_and_poses(ct, bag, params, tmp_path):
    options = ['--params', params, '--truth', 'ground_truth', '--limit', 'images>=3']
    offline = replayed(bag, ct, tmp_path / 'offline', *options)
    code, text = exit_code(
        tmp_path,
        bag=bag,
        ct=ct,
        params_file=params,
        topics='image:=/image camera_info:=/camera_info',
        truth='ground_truth',
        limit='images>=3',
        output='live',
    )
    assert (offline.exit_code, code) == (0, 0), text
    assert table(text) == table(offline.stdout)
    assert 'limit images>=3: met' in text and 'Traceback' not in text
    live, known = record_in(tmp_path / 'live').rows, record_in(tmp_path / 'offline').rows
    assert [row.verdict for row in live] == [row.verdict for row in known]
    assert 'VERIFIED' in [row.verdict for row in live]
    assert [row.stamp_ns for row in live] == [row.stamp_ns for row in known]
    for a, b in zip(live, known, strict=True):
        assert max(differences(a.camera_from_ct, b.camera_from_ct)) <= LARGEST_DIFFERENCE
        assert max(differences(a.fixed_from_camera, b.fixed_from_camera)) <= LARGEST_DIFFERENCE
        assert len(a.pictures) == 3


def test_a_replay_that_fails_makes_the_launch_fail(ct, tmp_path):
    code, text = exit_code(tmp_path, bag='missing', ct=ct, output='out')
    assert code == 1
    assert 'missing cannot be read' in text and 'the replay failed: exit code 2' in text
    assert not (tmp_path / 'out').exists()


def test_a_node_that_ends_ends_the_replay(ct, bag, params, tmp_path):
    arguments = {'bag': bag, 'ct': ct, 'params_file': params, 'output': 'out'}
    with launched(tmp_path, **arguments) as (process, log):
        deadline = time.monotonic() + 200
        while 'image 1 of 3' not in log.read_text():
            assert time.monotonic() < deadline and process.poll() is None, log.read_text()
            time.sleep(0.1)
        pid = re.search(r'registration-1\]: process started with pid \[(\d+)\]', log.read_text())
        os.kill(int(pid.group(1)), signal.SIGTERM)
        assert process.wait(100) == 1, log.read_text()
    assert 'the registration node has ended' in log.read_text()
