"""Start the registration node; it configures and activates itself unless autostart:=false."""

import os
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import OpaqueFunction, SetEnvironmentVariable
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from sph_reg_ros.ros.launch_arguments import declarations, existing_file, given_values

SHARE = Path(get_package_share_directory('sph_reg_ros'))
PROFILE = 'FASTRTPS_DEFAULT_PROFILES_FILE'
ARGUMENTS = {
    'ct': ('', 'DICOM folder, NIfTI, NRRD or MetaImage; empty: as in the parameter file'),
    'params_file': (str(SHARE / 'config/registration.yaml'), 'parameters of the node'),
    'namespace': ('', 'namespace of the node and of its relative topics'),
    'weights': ('', 'folder of trained networks; empty: as in the parameter file'),
    'patient_frame': ('', 'frame of the CT (LPS); empty: as in the parameter file'),
    'image': ('image', 'topic of the X-rays'),
    'camera_info': ('camera_info', "topic of the imager's intrinsics"),
    'imager_pose': ('imager_pose', 'topic of the imager in the fixed frame'),
    'initial_pose': ('initial_pose', 'topic of the rough pose of the patient'),
    'autostart': (
        'true',
        'configure and activate by itself; false: by lifecycle services; empty: as in the file',
    ),
    'valid_for': (
        '',
        'seconds that the patient is sent after its result; empty: as in the parameter file',
    ),
    'use_sim_time': ('', 'true: time from /clock, for bags; empty: as in the parameter file'),
    'log_level': ('info', 'debug, info, warn, error or fatal'),
    'rviz': ('false', 'show overlay and frames in RViz'),
}
OVERRIDES = {
    'ct': ('ct.path', str),
    'weights': ('weights.path', str),
    'patient_frame': ('frames.patient', str),
    'autostart': ('autostart', bool),
    'valid_for': ('validity.duration', float),
    'use_sim_time': ('use_sim_time', bool),
}
TOPICS = ('image', 'camera_info', 'imager_pose', 'initial_pose')


def registration(context: LaunchContext) -> list[Node]:
    """Return the node; what is not given leaves the parameter file in charge."""
    node = Node(
        package='sph_reg_ros',
        executable='registration',
        name='registration',
        namespace=LaunchConfiguration('namespace'),
        parameters=[existing_file(context, 'params_file'), given_values(context, OVERRIDES)],
        remappings=[(topic, LaunchConfiguration(topic)) for topic in TOPICS],
        ros_arguments=['--log-level', LaunchConfiguration('log_level')],
        output='screen',
    )
    return [node]


def generate_launch_description() -> LaunchDescription:
    """Return arguments, the setting for large images unless there is one, the node, RViz."""
    profile = os.environ.get(PROFILE, str(SHARE / 'config/fastdds_large_images.xml'))
    rviz = Node(
        package='rviz2',
        executable='rviz2',
        namespace=LaunchConfiguration('namespace'),
        arguments=['-d', str(SHARE / 'rviz/registration.rviz')],
        condition=IfCondition(LaunchConfiguration('rviz')),
    )
    return LaunchDescription(
        [
            *declarations(ARGUMENTS),
            SetEnvironmentVariable(PROFILE, profile),
            OpaqueFunction(function=registration),
            rviz,
        ]
    )
