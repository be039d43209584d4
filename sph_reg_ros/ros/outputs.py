"""The node's mouth: results, transforms and pictures out."""

from geometry_msgs.msg import PoseWithCovarianceStamped, TransformStamped
from rclpy.node import Node
from rclpy.publisher import Publisher
from sensor_msgs.msg import Image

from sph_reg_ros.msg import RegistrationResult
from sph_reg_ros.ros.conversions import PATIENT_FROM_RAS, transform_message
from sph_reg_ros.ros.image_conversions import image_from_array
from sph_reg_ros.ros.messages import view_header
from sph_reg_ros.ros.parameters import FrameParameters
from sph_reg_ros.ros.protocol import Registered
from sph_reg_ros.ros.transforms import TransformPublisher
from sph_reg_ros.ros.views import XRayView


class Outputs:
    """Publishers of everything that a registration yields."""

    def __init__(self, node: Node) -> None:
        """Advertise."""
        self._result = node.create_publisher(RegistrationResult, '~/result', 10)
        self._pose = node.create_publisher(PoseWithCovarianceStamped, '~/pose', 10)
        self._overlay = node.create_publisher(Image, '~/overlay', 1)
        self._drr = node.create_publisher(Image, '~/drr', 1)
        self._transforms = TransformPublisher(node)

    @property
    def wants_overlay(self) -> bool:
        """Return whether anybody looks at the overlay."""
        return _has_subscribers(self._overlay)

    @property
    def wants_drr(self) -> bool:
        """Return whether anybody looks at the rendering."""
        return _has_subscribers(self._drr)

    def publish(
        self,
        result: RegistrationResult,
        registered: Registered,
        view: XRayView,
        frames: FrameParameters,
    ) -> None:
        """Send all that came out of a registration; pose and transforms only if it is VERIFIED."""
        header = view_header(view)
        if result.verdict == RegistrationResult.VERIFIED:
            self._transforms.send(patient_transforms(registered, view, frames))
            self._pose.publish(PoseWithCovarianceStamped(header=header, pose=result.pose))
        for publisher, pixels in ((self._overlay, registered.overlay), (self._drr, registered.drr)):
            if pixels is not None:
                publisher.publish(image_from_array(pixels, header))
        self.publish_result(result)

    def publish_result(self, result: RegistrationResult) -> None:
        """Send a result alone; it comes after the transform that it announces."""
        self._result.publish(result)


def patient_transforms(
    registered: Registered, view: XRayView, frames: FrameParameters
) -> list[TransformStamped]:
    """Return parent -> patient and patient -> RAS, both at the time of the X-ray.

    The parent is the fixed frame where an imager pose is known: with the imager's pose at the time
    of exposure in it, moving the C-arm afterwards does not move the patient. Otherwise the parent
    is the imager.
    """
    parent, parent_from_patient = view.frame_id, registered.camera_from_ct[0]
    if view.imager is not None:
        parent = view.imager.frame_id
        parent_from_patient = view.imager.matrix @ parent_from_patient
    ras = frames.patient + frames.ras_suffix
    return [
        transform_message(parent_from_patient, parent, frames.patient, view.stamp_ns),
        transform_message(PATIENT_FROM_RAS, frames.patient, ras, view.stamp_ns),
    ]


def _has_subscribers(publisher: Publisher) -> bool:
    return publisher.get_subscription_count() > 0
