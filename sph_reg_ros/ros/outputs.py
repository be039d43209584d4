"""Publishers for results, patient transform and debug images."""

from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.node import Node
from rclpy.publisher import Publisher
from sensor_msgs.msg import Image

from sph_reg_ros.messages.image_conversions import image_from_array
from sph_reg_ros.messages.xray_view import XRayView
from sph_reg_ros.msg import RegistrationResult
from sph_reg_ros.ros.patient_frame import PatientFrame
from sph_reg_ros.service.parameters import FrameParameters
from sph_reg_ros.service.protocol import Registered
from sph_reg_ros.service.result_messages import verified_transforms, view_header


class Outputs:
    """Publishers of everything that a registration yields."""

    def __init__(self, node: Node, patient: PatientFrame) -> None:
        """Advertise."""
        self._patient = patient
        self._result = node.create_publisher(RegistrationResult, '~/result', 10)
        self._pose = node.create_publisher(PoseWithCovarianceStamped, '~/pose', 10)
        self._overlay = node.create_publisher(Image, '~/overlay', 1)
        self._drr = node.create_publisher(Image, '~/drr', 1)

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
        valid_until_ns: int,
    ) -> bool:
        """Send all that came out of a registration; pose and transforms only if VERIFIED.

        Returns:
            Whether there are transforms.
        """
        header = view_header(view)
        transforms = verified_transforms(registered, view, frames)
        if transforms:
            # The imager may move on at any time; what it was at the X-ray's stamp stays true.
            fixed = view.imager is not None
            self._patient.show(transforms, valid_until_ns, repeated=fixed)
        else:
            self._patient.withdraw()
        if result.verdict == RegistrationResult.VERIFIED:
            self._pose.publish(PoseWithCovarianceStamped(header=header, pose=result.pose))
        for publisher, pixels in ((self._overlay, registered.overlay), (self._drr, registered.drr)):
            if pixels is not None:
                publisher.publish(image_from_array(pixels, header))
        self.publish_result(result)
        return bool(transforms)

    def publish_result(self, result: RegistrationResult) -> None:
        """Send a result alone; it comes after the transform that it announces."""
        self._result.publish(result)


def _has_subscribers(publisher: Publisher) -> bool:
    return publisher.get_subscription_count() > 0
