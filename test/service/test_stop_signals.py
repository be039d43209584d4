"""The executables end quietly, however early they are asked to."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('rclpy')

from ros.harness import DOMAIN, REPOSITORY

pytestmark = pytest.mark.ros
# Stands in the way of rclpy: gets the signal in the middle of the imports, then steps aside.
INTERRUPTING_IMPORT = """
import importlib, os, sys
os.kill(os.getpid(), {number})
sys.path.remove({folder!r})
del sys.modules['rclpy']
sys.modules['rclpy'] = importlib.import_module('rclpy')
"""


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize('name', ['registration', 'carm_simulator'])
def test_a_signal_during_the_imports_ends_an_executable_quietly(name, number, tmp_path: Path):
    folder = tmp_path / 'in_the_way'
    folder.mkdir()
    text = INTERRUPTING_IMPORT.format(number=int(number), folder=str(folder))
    (folder / 'rclpy.py').write_text(text)
    path = [str(folder), str(REPOSITORY), os.environ.get('PYTHONPATH', '')]
    environment = os.environ | {
        'PYTHONPATH': os.pathsep.join(filter(None, path)),
        'ROS_DOMAIN_ID': str(DOMAIN),
        'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
        'ROS_LOG_DIR': str(tmp_path),
    }
    ended = subprocess.run(
        [sys.executable, str(REPOSITORY / 'scripts' / name)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30.0,
    )
    assert ended.returncode == 0, ended.stderr
    assert 'Traceback' not in ended.stderr
