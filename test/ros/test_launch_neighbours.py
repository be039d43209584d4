"""Our launch file in a bigger one: what starts before and after it is as if it were not there."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip('launch_ros')

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from ros.domains import own_domain

pytestmark = [pytest.mark.ros_full, pytest.mark.slow]
# Not the domain of the other tests' nodes, which run in processes of their own.
DOMAIN = own_domain()
PROFILES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')
PARENT = """
import os, sys
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, GroupAction
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import PushRosNamespace
from ament_index_python.packages import get_package_share_directory

SAY = 'import os, json, sys; json.dump(dict(os.environ), open(sys.argv[1], "w"), sort_keys=True)'

def probe(name):
    words = ['arm: ', LaunchConfiguration('arm', default='unset'), ' rviz: ',
             LaunchConfiguration('rviz', default='unset'), ' params_file: ',
             LaunchConfiguration('params_file'), ' ns: ', LaunchConfiguration('namespace')]
    return [ExecuteProcess(cmd=[sys.executable, '-c', SAY, name + '.json']),
            ExecuteProcess(cmd=['echo', name, *words], output='screen')]

def generate_launch_description():
    share = get_package_share_directory('sph_reg_ros')
    ours = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(share + '/launch/registration.launch.py'),
        launch_arguments={'autostart': 'false'}.items())
    return LaunchDescription([
        DeclareLaunchArgument('namespace', default_value='or1'),
        DeclareLaunchArgument('params_file', default_value='robot.yaml'),
        *probe('before'),
        GroupAction([PushRosNamespace(LaunchConfiguration('namespace')), ours], scoped=SCOPED),
        *probe('after'),
    ])
"""


@pytest.fixture(scope='module', autouse=True)
def package():
    try:
        get_package_share_directory('sph_reg_ros')
    except PackageNotFoundError:
        pytest.skip('the package is not installed in a ROS 2 workspace')


@contextmanager
def launched(folder: Path, *words: str) -> Iterator[tuple[subprocess.Popen, Path]]:
    """Give a running launch, and the path of what it prints."""
    environment = {k: v for k, v in os.environ.items() if k not in PROFILES} | {
        'ROS_DOMAIN_ID': str(DOMAIN),
        'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
        'ROS_LOG_DIR': str(folder),
    }
    path = folder / 'launch.log'
    with path.open('w') as log:
        process = subprocess.Popen(
            ['ros2', 'launch', *words],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=folder,
        )
        try:
            yield process, path
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.wait(60)


def wait_for(text: str, process: subprocess.Popen, log: Path) -> str:
    deadline = time.monotonic() + 60
    while not re.search(text, log.read_text()):
        assert time.monotonic() < deadline and process.poll() is None, log.read_text()
        time.sleep(0.1)
    return re.search(text, log.read_text()).group(1)


@pytest.mark.parametrize('is_scoped', [True, False])
def test_what_starts_before_and_after_ours_is_as_if_ours_were_not_there(is_scoped, tmp_path):
    (tmp_path / 'bringup.launch.py').write_text(PARENT.replace('SCOPED', str(is_scoped)))
    (tmp_path / 'robot.yaml').write_text('/**/arm: {ros__parameters: {ip: 10.0.0.1}}\n')
    with launched(tmp_path, 'bringup.launch.py') as (process, log):
        # In the parent's namespace once, not twice.
        wait_for(r'\[or1\.registration\]: (research use only)', process, log)
        pid = wait_for(r'registration-\d\]: process started with pid \[(\d+)\]', process, log)
        ours = Path(f'/proc/{pid}/environ').read_text()
        for name in ('before', 'after'):
            wait_for(rf'\] ({name}) arm', process, log)
    text = log.read_text()
    before, after = ((tmp_path / f'{name}.json').read_text() for name in ('before', 'after'))
    assert before == after and not any(name in before for name in PROFILES)
    assert all(f'{name}=' in ours for name in PROFILES)
    assert re.search(r'before (arm.*)', text)[1] == re.search(r'after (arm.*)', text)[1]
    # The parent's file is for its own nodes.
    assert 'robot.yaml has nothing for /or1/registration' in text


def test_a_shared_file_of_the_parent_starts_our_node_with_a_warning(tmp_path):
    shared = tmp_path / 'shared.yaml'
    shared.write_text('/**: {ros__parameters: {robot_ip: 10.0.0.1, image: {max_age: 5}}}\n')
    words = ('sph_reg_ros', 'registration.launch.py', f'params_file:={shared}', 'autostart:=false')
    with launched(tmp_path, *words) as (process, log):
        wait_for("(unknown parameter 'robot_ip').*it is ignored", process, log)
        wait_for(r'\[registration\]: (research use only)', process, log)
        time.sleep(1.0)
        assert process.poll() is None, log.read_text()


def test_a_fatal_start_ends_the_launch_with_an_exit_code(tmp_path):
    own = tmp_path / 'own.yaml'
    own.write_text('/**/registration: {ros__parameters: {image: {max_aeg: 5}}}\n')
    words = ('sph_reg_ros', 'registration.launch.py', f'params_file:={own}')
    with launched(tmp_path, *words) as (process, log):
        assert process.wait(60) == 1, log.read_text()
    text = log.read_text()
    assert "unknown parameter 'image.max_aeg': did you mean 'image.max_age'?" in text
    assert 'has failed (exit code 2)' in text
