"""A bag through the live node gives the poses that the same bag gives without ROS."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('rclpy')
pytest.importorskip('diffdrr.renderers')

from bags import SETTINGS, simulated
from cli_files import body
from ct_files import write_volume
from ros.harness import DOMAIN, REPOSITORY, NodeProcess

from sph_reg_ros.replay.job import ReplayJob, replay
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


def test_live_and_offline_agree_to_a_millionth(tmp_path):
    ct = write_volume(tmp_path / 'ct.nii.gz', body())
    bag = simulated(ct, tmp_path / 'bag')
    given = [word for word in SETTINGS if ':=' in word]
    given += [f'ct.path:={ct}', 'autostart:=true', 'registration.timeout:=300.0']
    parameters = read_parameters(None, given)
    params = tmp_path / 'params.yaml'
    params.write_text(parameters_text(parameters))
    replay(ReplayJob(bag, tmp_path / 'offline', parameters, 'ground_truth'))
    with NodeProcess(tmp_path / 'node.log', params_file=params, use_sim_time=True) as node:
        done = played(
            bag, ct, params, tmp_path / 'live', '--truth', 'ground_truth', '--limit', 'images>=3'
        )
        assert done.returncode == 0, done.stdout + done.stderr + node.log
    live, offline = poses(tmp_path / 'live'), poses(tmp_path / 'offline')
    assert len(live) == len(offline) == 3
    assert (
        max(
            abs(a - b)
            for x, y in zip(live, offline, strict=True)
            for a, b in zip(x, y, strict=True)
        )
        < 1e-6
    )
    assert 'of 3 images verified' in done.stdout and 'limit images>=3: met' in done.stdout
    html = (tmp_path / 'live/report.html').read_text()
    assert html.count('src="data:image/jpeg') == 9
