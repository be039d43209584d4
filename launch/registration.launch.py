"""Start the registration node; it configures and activates itself unless autostart:=false."""

import os
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchContext, LaunchDescription

SHARE = Path(get_package_share_directory('sph_reg_ros'))
PROFILE = 'FASTRTPS_DEFAULT_PROFILES_FILE'
ARGUMENTS = {
    'ct': ('', 'DICOM folder, NIfTI, NRRD or MetaImage; empty: as in the parameter file'),
    'params_file': (str(SHARE / 'config/registration.yaml'), 'parameters of the node'),
    'namespace': ('', 'namespace of the node and of its relative topics'),
    'patient_frame': ('patient', 'frame of the CT (LPS); its RAS twin is <patient_frame>_ras'),
    'image': ('image', 'topic of the X-rays'),
    'camera_info': ('camera_info', "topic of the imager's intrinsics"),
    'imager_pose': ('imager_pose', 'topic of the imager in the fixed frame'),
    'initial_pose': ('initial_pose', 'topic of the rough pose of the patient'),
    'autostart': ('true', 'configure and activate by itself; false: by lifecycle services'),
    'use_sim_time': ('false', 'time from /clock, for bags'),
    'log_level': ('info', 'debug, info, warn, error or fatal'),
    'rviz': ('false', 'show overlay and frames in RViz'),
}
TOPICS = ('image', 'camera_info', 'imager_pose', 'initial_pose')


def registration(context: LaunchContext) -> list[Node]:
    """Return the node; an empty ct leaves the parameter file in charge."""
    parameters = {
        'autostart': ParameterValue(LaunchConfiguration('autostart'), value_type=bool),
        'use_sim_time': ParameterValue(LaunchConfiguration('use_sim_time'), value_type=bool),
        'frames.patient': ParameterValue(LaunchConfiguration('patient_frame'), value_type=str),
    }
    if LaunchConfiguration('ct').perform(context):
        parameters['ct.path'] = ParameterValue(LaunchConfiguration('ct'), value_type=str)
    node = Node(
        package='sph_reg_ros',
        executable='registration',
        name='registration',
        namespace=LaunchConfiguration('namespace'),
        parameters=[LaunchConfiguration('params_file'), parameters],
        remappings=[(topic, LaunchConfiguration(topic)) for topic in TOPICS],
        ros_arguments=['--log-level', LaunchConfiguration('log_level')],
        output='screen',
    )
    return [node]


def generate_launch_description() -> LaunchDescription:
    """Return arguments, the setting for large images unless there is one, the node, RViz."""
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in ARGUMENTS.items()
    ]
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
            *arguments,
            SetEnvironmentVariable(PROFILE, profile),
            OpaqueFunction(function=registration),
            rviz,
        ]
    )
