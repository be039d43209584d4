"""Messages of a simulated exposure, for the live simulator and for bags."""

from dataclasses import dataclass

from sph_reg_ros.evaluation.carm import CArm, Exposure
from sph_reg_ros.geometry import Camera
from sph_reg_ros.messages.conversions import header_message, pose_from_matrix, transform_message
from sph_reg_ros.messages.image_conversions import camera_info_from_intrinsics, image_from_array
from sph_reg_ros.messages.message_types import Message, NewMessage, ros_message


@dataclass(frozen=True)
class ExposureMessages:
    """One image with all that belongs to it, all of one stamp."""

    transform: Message
    imager_pose: Message
    camera_info: Message
    ground_truth: Message
    body_truths: dict[str, Message]
    image: Message


def exposure_messages(
    exposure: Exposure,
    camera: Camera,
    frames: tuple[str, str],
    stamp_ns: int,
    new: NewMessage = ros_message,
) -> ExposureMessages:
    """Return the messages of an exposure.

    Args:
        exposure: poses in mm.
        camera: the imager.
        frames: the fixed frame, the imager's optical frame.
        stamp_ns: of the exposure.
        new: makes messages.
    """
    fixed, imager = frames
    fixed_from_camera = exposure.fixed_from_camera.numpy()
    in_imager = header_message(stamp_ns, imager, new)
    return ExposureMessages(
        transform=transform_message(fixed_from_camera, fixed, imager, stamp_ns, new),
        imager_pose=new(
            'geometry_msgs/PoseStamped',
            header=header_message(stamp_ns, fixed, new),
            pose=pose_from_matrix(fixed_from_camera, new),
        ),
        camera_info=camera_info_from_intrinsics(camera.K.numpy(), camera.size, in_imager, new),
        ground_truth=new(
            'geometry_msgs/PoseStamped',
            header=in_imager,
            pose=pose_from_matrix(exposure.camera_from_ct.numpy(), new),
        ),
        body_truths={
            name: new(
                'geometry_msgs/PoseStamped', header=in_imager, pose=pose_from_matrix(m.numpy(), new)
            )
            for name, m in exposure.camera_from_body.items()
        },
        image=image_from_array(exposure.counts, in_imager, new),
    )


def planned_pose_message(
    carm: CArm, fixed_frame: str, stamp_ns: int, new: NewMessage = ros_message
) -> Message:
    """Return initial_pose: where the patient lies in the fixed frame."""
    message = new(
        'geometry_msgs/PoseWithCovarianceStamped',
        header=header_message(stamp_ns, fixed_frame, new),
    )
    message.pose.pose = pose_from_matrix(carm.fixed_from_ct.numpy(), new)
    return message
