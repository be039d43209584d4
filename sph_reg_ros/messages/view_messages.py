"""Turns matched messages into checked views in the units of the core."""

from sph_reg_ros.errors import ErrorCode, PoseError
from sph_reg_ros.messages.conversions import framed_pose, nanoseconds, require_covariance
from sph_reg_ros.messages.image_conversions import (
    intrinsics_from_camera_info,
    lens_from_camera_info,
)
from sph_reg_ros.messages.message_types import Message
from sph_reg_ros.messages.received_image import ReceivedImage
from sph_reg_ros.messages.xray_view import InitialPose, XRayView


def view_from_messages(
    image: ReceivedImage, info: Message, imager_pose: Message | None, *, rectified: bool
) -> XRayView:
    """Check an image's CameraInfo and PoseStamped, and return all in the units of the core.

    Raises:
        RegistrationError: a typed reason why they cannot be used.
    """
    K = intrinsics_from_camera_info(info, image.size, rectified=rectified)
    lens = None if rectified else lens_from_camera_info(info)
    imager = None
    if imager_pose is not None:
        imager = framed_pose(imager_pose.header.frame_id, imager_pose.pose, 'imager_pose')
        if imager.frame_id == image.header.frame_id:
            raise PoseError(
                ErrorCode.POSE_INVALID,
                f'imager_pose is given in the imager frame {imager.frame_id!r} itself; '
                'give it in a fixed frame',
            )
    return XRayView(
        stamp_ns=nanoseconds(image.header.stamp),
        frame_id=image.header.frame_id,
        pixels=image.pixels,
        K=K,
        lens=lens,
        imager=imager,
        warnings=image.warnings,
    )


def initial_pose_from_message(message: Message) -> InitialPose:
    """Return the pose of a PoseWithCovarianceStamped on initial_pose; raises PoseError."""
    covariance = require_covariance(message.pose.covariance, 'initial_pose')
    pose = framed_pose(message.header.frame_id, message.pose.pose, 'initial_pose')
    return InitialPose(pose.frame_id, pose.matrix, covariance)
