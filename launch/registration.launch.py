"""Start the registration node; it configures and activates itself unless autostart:=false."""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from sph_reg_ros.ros.launch_arguments import (
    declarations,
    end_if_failed,
    given_values,
    is_true,
    large_images,
    own_namespace,
    parameter_file,
    scoped,
    viewing_frame,
)

SHARE = Path(get_package_share_directory('sph_reg_ros'))
PARAMETERS = str(SHARE / 'config/registration.yaml')
PROFILE = str(SHARE / 'config/fastdds_large_images.xml')
OF_PARAMETERS = {
    'ct': ('ct.path', Path, 'DICOM folder, NIfTI, NRRD or MetaImage'),
    'assume_lps': ('ct.assume_lps', bool, 'true: a CT file that does not say so is LPS'),
    'labels': ('ct.labels', Path, 'label map of the CT, for target'),
    'bodies': ('bodies.path', Path, 'YAML list of what moves for itself'),
    'target': ('registration.target', str, 'what the verdict is about: label, body or box'),
    'weights': ('weights.path', Path, 'folder of trained networks'),
    'device': ('registration.device', str, 'auto, cpu or cuda: where to compute'),
    'patient_frame': ('frames.patient', str, 'frame of the CT (LPS)'),
    'use_imager_pose': ('use_imager_pose', bool, 'false: publish the patient in the imager'),
    'imager_pose_source': ('imager_pose.source', str, "topic or tf: whence the imager's pose is"),
    'fixed_frame': ('imager_pose.fixed_frame', str, 'with tf: frame to publish the patient in'),
    'imager_frame': ('imager_pose.imager_frame', str, "with tf: the imager's optical frame"),
    'bright_air': ('image.bright_air', str, 'auto, true or false: whether air is bright'),
    'calibration': (
        'registration.calibration',
        str,
        'exact, calibrated, nominal or unknown: how far the camera can be trusted',
    ),
    'max_tre_across_mm': (
        'registration.max_tre_across_mm',
        float,
        'largest error across the beam, mm: verify for that only, whatever the depth',
    ),
    'transport': ('image.transport', str, 'raw or compressed: how the X-rays are sent'),
    'rectified': ('image.rectified', bool, 'true: the image is rectified, P of camera_info holds'),
    'max_age': ('image.max_age', float, 'seconds; older images are refused'),
    'track': ('tracking.enabled', bool, 'true: follow the patient from X-ray to X-ray'),
    'valid_for': ('validity.duration', float, 'seconds that the patient is sent after its result'),
    'autostart': ('autostart', bool, 'configure and activate by itself, not by services'),
    'use_sim_time': ('use_sim_time', bool, 'true: time from /clock, for bags'),
}
OVERRIDES = {name: of_parameter[:2] for name, of_parameter in OF_PARAMETERS.items()}
ARGUMENTS = {
    name: ('', f'{text}; empty: as in the parameter file')
    for name, (*_, text) in OF_PARAMETERS.items()
} | {
    'autostart': ('true', OF_PARAMETERS['autostart'][-1] + '; empty: as in the parameter file'),
    'params_file': (PARAMETERS, 'parameters of the node'),
    'namespace': ('', 'namespace of the node and of its relative topics'),
    'image': ('image', 'topic of the X-rays'),
    'camera_info': ('camera_info', "topic of the imager's intrinsics"),
    'imager_pose': ('imager_pose', 'topic of the imager in the fixed frame'),
    'initial_pose': ('initial_pose', 'topic of the rough pose of the patient'),
    'respawn': ('false', 'true: start the node again when it ends, whatever the reason'),
    'log_level': ('info', 'debug, info, warn, error or fatal'),
    'rviz': ('false', 'show overlay and frames in RViz'),
    'rviz_frame': ('', "RViz's fixed frame; empty: the one that the parameters name"),
}
TOPICS = ('image', 'camera_info', 'imager_pose', 'initial_pose')
RESPAWN_DELAY_S = 2.0


def nodes(context: LaunchContext) -> list[Node]:
    """Return the registration, and RViz if wanted; the file holds for what is not given."""
    respawn = is_true(context, 'respawn')
    common = {
        'namespace': own_namespace(context),
        'remappings': [(topic, LaunchConfiguration(topic)) for topic in TOPICS],
    }
    params_file = parameter_file(context, 'params_file', 'registration', PARAMETERS)
    registration = Node(
        package='sph_reg_ros',
        executable='registration',
        name='registration',
        parameters=[params_file, given_values(context, OVERRIDES)],
        ros_arguments=['--log-level', LaunchConfiguration('log_level')],
        additional_env=large_images(context, PROFILE),
        output='screen',
        respawn=respawn,
        respawn_delay=RESPAWN_DELAY_S,
        on_exit=None if respawn else end_if_failed,
        **common,
    )
    if not is_true(context, 'rviz'):
        return [registration]
    view = ['-d', str(SHARE / 'rviz/registration.rviz'), '-f', viewing_frame(context, params_file)]
    # RViz takes the large images as well.
    environment = large_images(context, PROFILE)
    rviz = Node(
        package='rviz2', executable='rviz2', arguments=view, additional_env=environment, **common
    )
    return [registration, rviz]


def generate_launch_description() -> LaunchDescription:
    """Return the arguments and the nodes; no more is left behind in a file that includes this."""
    return LaunchDescription(scoped([*declarations(ARGUMENTS), OpaqueFunction(function=nodes)]))
