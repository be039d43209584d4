"""The ROS 2 part of `sph-reg check`; works without ROS."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from sph_reg_ros.cli.status_line import StatusLine, broken, fine, note

PROBE = Path(__file__).with_name('ros_probe.py')
PROBE_TIMEOUT_S = 60
PROFILE_VARIABLES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')
MESSAGES = (
    'sph_reg_ros.msg',
    'sensor_msgs.msg',
    'geometry_msgs.msg',
    'diagnostic_msgs.msg',
    'std_srvs.srv',
    'tf2_msgs.msg',
)


def ros_lines() -> list[StatusLine]:
    """Return the findings about ROS 2."""
    found = run_probe()
    if found.get('rclpy') == 'absent':
        return [note('ROS', 'not installed: library and command line work, the nodes do not')]
    if found.get('rclpy') != 'ok':
        return [broken('ROS', f'rclpy does not load: {found.get("rclpy", found.get("probe"))}')]
    return [
        fine('ROS', os.environ.get('ROS_DISTRO', 'wheels from PyPI (ROS_DISTRO is not set)')),
        rmw_line(found['rmw']),
        messages_line(found),
        tf_line(found),
        profile_line(os.environ),
    ]


def run_probe() -> dict[str, str]:
    """Return the findings of ros_probe, or why it failed under 'probe'."""
    # As text, because `-m` would import this package, and torch with it, for nothing.
    command = [sys.executable, '-c', PROBE.read_text(encoding='utf-8')]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PROBE_TIMEOUT_S, check=True
        )
        findings: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    except (subprocess.SubprocessError, OSError, ValueError, IndexError) as error:
        return {'probe': f'the probe failed ({type(error).__name__})'}
    return findings


def rmw_line(rmw: str) -> StatusLine:
    """Report the middleware."""
    return broken('RMW', rmw) if rmw.startswith('error') else fine('RMW', rmw)


def messages_line(found: Mapping[str, str]) -> StatusLine:
    """Check that every message package is installed and loads."""
    faulty = {name: found[name] for name in MESSAGES if found[name] not in ('ok', 'absent')}
    if faulty:
        return broken('messages', '; '.join(f'{name}: {why}' for name, why in faulty.items()))
    absent = [name for name in MESSAGES if found[name] == 'absent']
    if absent:
        return note('messages', f'not built: {", ".join(absent)}; build the package, see README')
    return fine('messages', ', '.join(MESSAGES))


def tf_line(found: Mapping[str, str]) -> StatusLine:
    """Report what sends transforms."""
    if found['tf2_ros'] == 'ok':
        return fine('transforms', 'tf2_ros')
    return fine('transforms', 'own publisher of tf2_msgs/TFMessage (tf2_ros is not installed)')


def profile_line(environment: Mapping[str, str]) -> StatusLine:
    """Check that Fast DDS is set up for large images."""
    for variable in PROFILE_VARIABLES:
        path = environment.get(variable, '')
        if path and not Path(path).is_file():
            return broken('Fast DDS', f'{variable} names a file that does not exist: {path}')
        if path:
            return fine('Fast DDS', f'profile {path}')
    return note(
        'Fast DDS',
        'no profile: large images may be lost; set FASTRTPS_DEFAULT_PROFILES_FILE to '
        'config/fastdds_large_images.xml (the launch files do)',
    )
