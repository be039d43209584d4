"""Processes of the demo and their environment."""

import importlib.util
import os
import random
import shutil
import sys
from pathlib import Path

from sph_reg_ros.imaging.sample_ct import sample_ct_path
from sph_reg_ros.ros.share_folder import share_folder

# To the images: the node and the demo's own client.
LISTENERS = 2
PROFILE = 'fastdds_large_images.xml'


def local_environment() -> dict[str, str]:
    """Return environment variables: an isolated ROS graph with room for large images."""
    profile = str(share_folder() / 'config' / PROFILE)
    return {
        'ROS_DOMAIN_ID': str(random.SystemRandom().randint(1, 100)),
        'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
        'FASTRTPS_DEFAULT_PROFILES_FILE': os.environ.get('FASTRTPS_DEFAULT_PROFILES_FILE', profile),
        'PYTHONUNBUFFERED': '1',
    }


def launch_is_installed() -> bool:
    """Return whether `ros2 launch` can find this package."""
    if shutil.which('ros2') is None or importlib.util.find_spec('launch_ros') is None:
        return False
    prefixes = os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)
    return any((Path(p) / 'share/sph_reg_ros/launch').is_dir() for p in prefixes if p)


def commands(*, use_launch: bool, bodies: Path | None = None) -> dict[str, list[str]]:
    """Return the commands by name: one `ros2 launch`, or both nodes where launch is missing.

    Args:
        use_launch: False starts the nodes themselves.
        bodies: list of what moves for itself; the nodes are started without launch then.
    """
    moving = [] if bodies is None else [str(bodies.absolute())]
    listeners = f'wait_for_subscribers:={LISTENERS}'
    if use_launch and launch_is_installed():
        return {'launch': ['ros2', 'launch', 'sph_reg_ros', 'demo.launch.py', listeners]}
    moving = [] if bodies is None else [f'bodies.path:={bodies.absolute()}']
    # Two views of each moment, a right angle apart.
    paired = [*moving, 'orbit.steps:=2', 'bodies.images_per_motion:=2'] if moving else []
    alone = [*moving, 'continuous:=false'] if moving else []
    ct = f'ct.path:={sample_ct_path()}'
    return {
        'carm_simulator': _node('simulator', 'simulator.yaml', ct, listeners, *paired),
        'registration': _node('node', 'registration.yaml', ct, 'autostart:=true', *alone),
    }


def _node(module: str, parameter_file: str, *parameters: str) -> list[str]:
    file = share_folder() / 'config' / parameter_file
    command = [sys.executable, '-m', f'sph_reg_ros.ros.{module}', '--ros-args']
    command += ['--params-file', str(file)]
    return command + [word for parameter in parameters for word in ('-p', parameter)]
