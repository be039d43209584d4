"""Play a bag through the live registration node and report on it, as `sph-reg replay` does."""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import IncludeLaunchDescription, OpaqueFunction, Shutdown
from launch.events.process import ProcessExited
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from sph_reg_ros.ros.launch_arguments import (
    declarations,
    given,
    given_path,
    large_images,
    parameter_file,
    scoped,
)

SHARE = Path(get_package_share_directory('sph_reg_ros'))
PARAMETERS = str(SHARE / 'config/registration.yaml')
PROFILE = str(SHARE / 'config/fastdds_large_images.xml')
ARGUMENTS = {
    'bag': ('', 'rosbag2 folder, sqlite3 or MCAP'),
    'ct': ('', 'DICOM folder, NIfTI, NRRD or MetaImage'),
    'params_file': (PARAMETERS, 'parameters of the registration node'),
    'topics': ('', 'where the bag has other names: image:=/TOPIC camera_info:=/TOPIC'),
    'truth': ('', 'topic of true poses in the bag, or TUM file; empty: none'),
    'output': ('replay', 'folder for poses, metrics and report'),
    'limit': ('', 'figure of metrics.json and its limit, such as mtre_mm.median<=1.5'),
    'log_level': ('info', 'debug, info, warn, error or fatal'),
    'rviz': ('false', 'show overlay and frames in RViz'),
}
PATHS = ('bag', 'ct', 'truth', 'output')
PASSED_ON = ('ct', 'log_level', 'rviz')


def nodes(context: LaunchContext) -> list[IncludeLaunchDescription | Node]:
    """Return the registration in simulated time, and the player that ends everything.

    Raises:
        ValueError: no bag or no CT was given.
    """
    texts = {name: given(context, name) for name in ARGUMENTS}
    texts |= {name: given_path(context, name) for name in PATHS}
    for name in ('bag', 'ct'):
        if not texts[name]:
            raise ValueError(f'{name}:=PATH is needed')
    # One of its own is not an argument here, but a file that includes this one may have it.
    context.launch_configurations['namespace'] = ''
    params_file = parameter_file(context, 'params_file', 'registration', PARAMETERS)
    registration = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(SHARE / 'launch/registration.launch.py')),
        launch_arguments={
            **{name: LaunchConfiguration(name) for name in PASSED_ON},
            'params_file': params_file,
            'use_sim_time': 'true',
        }.items(),
    )
    words = ['--bag', texts['bag'], '--ct', texts['ct'], '--output', texts['output']]
    words += ['--params', params_file]
    for name in ('truth', 'limit'):
        if texts[name]:
            words += [f'--{name}', texts[name]]
    for topic in texts['topics'].split():
        words += ['--topic', topic]
    player = Node(
        package='sph_reg_ros',
        executable='bag_player',
        name='bag_player',
        arguments=words,
        additional_env=large_images(context, PROFILE),
        output='screen',
        on_exit=end,
    )
    return [registration, player]


def end(event: ProcessExited, context: LaunchContext) -> list[Shutdown]:
    """Shut everything down, as the player has ended.

    Raises:
        RuntimeError: it failed, or missed a limit; only an error makes the exit code of
            `ros2 launch` 1.
    """
    if event.returncode:
        raise RuntimeError(f'the replay failed: exit code {event.returncode} of bag_player')
    return [Shutdown(reason='the bag is over')]


def generate_launch_description() -> LaunchDescription:
    """Return the arguments, the node and the player."""
    return LaunchDescription(scoped([*declarations(ARGUMENTS), OpaqueFunction(function=nodes)]))
