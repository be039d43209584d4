"""A bag through the live node gives the poses that the same bag gives without ROS."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('rclpy')
pytest.importorskip('diffdrr.renderers')

from bags import FIXED, SETTINGS, by_tf, simulated
from cli_files import body
from ct_files import write_volume
from ros.harness import DOMAIN, REPOSITORY, NodeProcess

from sph_reg_ros.replay.bag_replay import ReplayJob, replay
from sph_reg_ros.replay.params_file import parameters_text, read_parameters

pytestmark = [pytest.mark.ros, pytest.mark.slow]


def played(bag: Path, ct: Path, params: Path, output: Path, *options: str):
    """Run bag_player beside a node that runs already."""
    environment = os.environ | {
        'ROS_DOMAIN_ID': str(DOMAIN),
        'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
        'ROS_LOG_DIR': str(output.parent),
        'PYTHONPATH': os.pathsep.join([str(REPOSITORY), os.environ.get('PYTHONPATH', '')]),
    }
    words = ['--bag', bag, '--ct', ct, '--params', params, '--output', output, *options]
    return subprocess.run(
        [sys.executable, '-m', 'sph_reg_ros.ros.bag_player', *map(str, words)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=400,
    )


def poses(folder: Path) -> list[list[float]]:
    with (folder / 'poses.csv').open() as file:
        names = ('x_m', 'y_m', 'z_m', 'qx', 'qy', 'qz', 'qw')
        return [[float(row[name]) for name in names] for row in csv.DictReader(file)]


def agree(bag: Path, ct: Path, folder: Path, *settings: str) -> subprocess.CompletedProcess:
    """Register a bag with and without ROS, compare the poses, and return the player."""
    given = [word for word in SETTINGS if ':=' in word]
    given += [f'ct.path:={ct}', 'autostart:=true', 'registration.timeout:=300.0', *settings]
    parameters = read_parameters(None, given)
    params = folder / 'params.yaml'
    params.write_text(parameters_text(parameters))
    replay(ReplayJob(bag, folder / 'offline', parameters, 'ground_truth'))
    with NodeProcess(folder / 'node.log', params_file=params, use_sim_time=True) as node:
        words = ('--truth', 'ground_truth', '--limit', 'images>=3')
        done = played(bag, ct, params, folder / 'live', *words)
        assert done.returncode == 0, done.stdout + done.stderr + node.log
    live, offline = poses(folder / 'live'), poses(folder / 'offline')
    assert np.shape(live) == np.shape(offline) == (3, 7)
    assert np.abs(np.subtract(live, offline)).max() < 1e-6
    return done


def test_live_and_offline_agree_to_a_millionth(tmp_path):
    ct = write_volume(tmp_path / 'ct.nii.gz', body())
    bag = simulated(ct, tmp_path / 'bag')
    done = agree(bag, ct, tmp_path)
    assert 'of 3 images verified' in done.stdout and 'limit images>=3: met' in done.stdout
    html = (tmp_path / 'live/report.html').read_text()
    assert html.count('src="data:image/jpeg') == 9


def test_so_they_do_where_the_bag_has_its_c_arm_on_tf_alone(tmp_path):
    ct = write_volume(tmp_path / 'ct.nii.gz', body())
    bag = by_tf(simulated(ct, tmp_path / 'simulated'), tmp_path / 'bag')
    agree(bag, ct, tmp_path, 'imager_pose.source:=tf', f'imager_pose.fixed_frame:={FIXED}')
