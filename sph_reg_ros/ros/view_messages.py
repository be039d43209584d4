"""Messages that belong together, checked and turned into what the core works with."""

from sph_reg_ros.errors import ErrorCode, ImageError, PoseError
from sph_reg_ros.ros.conversions import NANOSECONDS, framed_pose, nanoseconds, require_covariance
from sph_reg_ros.ros.image_conversions import array_from_image, intrinsics_from_camera_info
from sph_reg_ros.ros.message_types import Message
from sph_reg_ros.ros.views import FramedPose, XRayView


def view_from_messages(
    image: Message, info: Message, imager_pose: Message | None, *, rectified: bool
) -> XRayView:
    """Check an Image, its CameraInfo and PoseStamped, and return them in the units of the core.

    Raises:
        RegistrationError: a typed reason why they cannot be used.
    """
    stamp_ns = require_header(image)
    pixels = array_from_image(image)
    K = intrinsics_from_camera_info(info, (image.height, image.width), rectified=rectified)
    imager = None
    if imager_pose is not None:
        imager = framed_pose(imager_pose.header.frame_id, imager_pose.pose, 'imager_pose')
        if imager.frame_id == image.header.frame_id:
            raise PoseError(
                ErrorCode.POSE_INVALID,
                f'imager_pose is given in the imager frame {imager.frame_id!r} itself; '
                'give it in a fixed frame',
            )
    return XRayView(stamp_ns, image.header.frame_id, pixels, K, imager)


def require_header(image: Message) -> int:
    """Return the stamp (ns) of an image; raises ImageError if its header cannot be used."""
    stamp = image.header.stamp
    if not image.header.frame_id:
        raise ImageError(ErrorCode.IMAGE_LAYOUT, 'header.frame_id of the image is empty')
    if nanoseconds(stamp) <= 0 or stamp.nanosec >= NANOSECONDS:
        raise ImageError(
            ErrorCode.IMAGE_LAYOUT,
            f'the image has no usable stamp: {stamp.sec}, {stamp.nanosec}',
        )
    return nanoseconds(stamp)


def initial_pose_from_message(message: Message) -> FramedPose:
    """Return the pose of a PoseWithCovarianceStamped on initial_pose; raises PoseError."""
    require_covariance(message.pose.covariance, 'initial_pose')
    return framed_pose(message.header.frame_id, message.pose.pose, 'initial_pose')
