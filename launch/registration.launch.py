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
AS_IN_FILE = '; empty: as in the parameter file'
ARGUMENTS = {
    'ct': ('', 'DICOM folder, NIfTI, NRRD or MetaImage' + AS_IN_FILE),
    'assume_lps': (
        '',
        'true: a CT file that does not say how the patient lies is LPS' + AS_IN_FILE,
    ),
    'bodies': ('', 'YAML list of what moves for itself' + AS_IN_FILE),
    'labels': ('', 'label map of the CT, for target' + AS_IN_FILE),
    'target': ('', 'what the verdict is about: label, body or box' + AS_IN_FILE),
    'params_file': (PARAMETERS, 'parameters of the node'),
    'namespace': ('', 'namespace of the node and of its relative topics'),
    'weights': ('', 'folder of trained networks' + AS_IN_FILE),
    'device': ('', 'auto, cpu or cuda: where to compute' + AS_IN_FILE),
    'patient_frame': ('', 'frame of the CT (LPS)' + AS_IN_FILE),
    'image': ('image', 'topic of the X-rays'),
    'camera_info': ('camera_info', "topic of the imager's intrinsics"),
    'imager_pose': ('imager_pose', 'topic of the imager in the fixed frame'),
    'initial_pose': ('initial_pose', 'topic of the rough pose of the patient'),
    'use_imager_pose': ('', 'false: the patient is published in the imager' + AS_IN_FILE),
    'imager_pose_source': ('', 'topic or tf: where the pose of the imager is from' + AS_IN_FILE),
    'fixed_frame': ('', 'with tf: frame that the patient is published in' + AS_IN_FILE),
    'imager_frame': ('', "with tf: the imager's optical frame" + AS_IN_FILE),
    'bright_air': ('', 'auto, true or false: whether air is bright' + AS_IN_FILE),
    'calibration': (
        '',
        'exact, calibrated, nominal or unknown: how far the camera can be trusted' + AS_IN_FILE,
    ),
    'max_tre_across_mm': (
        '',
        'largest error across the beam, mm: verify for that only, whatever the depth' + AS_IN_FILE,
    ),
    'transport': ('', 'raw or compressed: how the X-rays are sent' + AS_IN_FILE),
    'rectified': ('', 'true: the image is rectified, P of camera_info holds' + AS_IN_FILE),
    'max_age': ('', 'seconds; older images are refused' + AS_IN_FILE),
    'track': ('', 'true: follow the patient from X-ray to X-ray' + AS_IN_FILE),
    'valid_for': ('', 'seconds that the patient is sent after its result' + AS_IN_FILE),
    'autostart': (
        'true',
        'configure and activate by itself; false: by lifecycle services; empty: as in the file',
    ),
    'respawn': ('false', 'true: start the node again when it ends, whatever the reason'),
    'use_sim_time': ('', 'true: time from /clock, for bags' + AS_IN_FILE),
    'log_level': ('info', 'debug, info, warn, error or fatal'),
    'rviz': ('false', 'show overlay and frames in RViz'),
    'rviz_frame': ('', "RViz's fixed frame; empty: the one that the parameters name"),
}
OVERRIDES = {
    'ct': ('ct.path', Path),
    'assume_lps': ('ct.assume_lps', bool),
    'bodies': ('bodies.path', Path),
    'labels': ('ct.labels', Path),
    'target': ('registration.target', str),
    'weights': ('weights.path', Path),
    'device': ('registration.device', str),
    'patient_frame': ('frames.patient', str),
    'use_imager_pose': ('use_imager_pose', bool),
    'imager_pose_source': ('imager_pose.source', str),
    'fixed_frame': ('imager_pose.fixed_frame', str),
    'imager_frame': ('imager_pose.imager_frame', str),
    'bright_air': ('image.bright_air', str),
    'calibration': ('registration.calibration', str),
    'max_tre_across_mm': ('registration.max_tre_across_mm', float),
    'transport': ('image.transport', str),
    'rectified': ('image.rectified', bool),
    'max_age': ('image.max_age', float),
    'track': ('tracking.enabled', bool),
    'valid_for': ('validity.duration', float),
    'autostart': ('autostart', bool),
    'use_sim_time': ('use_sim_time', bool),
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
