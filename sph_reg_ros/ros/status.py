"""Publishes state, errors and counters of the node on ~/status, latched."""

import threading
from collections.abc import Callable

from builtin_interfaces.msg import Duration
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from sph_reg_ros.errors import ErrorCode, RegistrationError
from sph_reg_ros.messages.conversions import NANOSECONDS, nanoseconds, time_message
from sph_reg_ros.msg import ErrorCode as ErrorCodeMessage
from sph_reg_ros.msg import RegistrationResult, RegistrationStatus
from sph_reg_ros.service.image_counts import ImageCounts
from sph_reg_ros.service.result_messages import count_result, note_result

LATCHED = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)

# In these, the end of the validity of an earlier result is still of interest.
_OF_THE_LAST_RESULT = (RegistrationStatus.REGISTERING, RegistrationStatus.STALE)


class StatusBoard:
    """State, last error and counters; every change is published. Thread-safe.

    Attributes:
        image_counts: gives how many images came in, and how many did not get further.
        method: of the last registration that was carried out; '' before.
        missing: which inputs are silent; None if none is.
    """

    def __init__(self, node: Node) -> None:
        """Advertise ~/status and say UNCONFIGURED."""
        self._node = node
        self._lock = threading.RLock()
        self._publisher = node.create_publisher(RegistrationStatus, '~/status', LATCHED)
        self._message = RegistrationStatus()
        self.image_counts: Callable[[], ImageCounts] = ImageCounts
        self.method = ''
        self.missing: RegistrationError | None = None
        self.set_state(RegistrationStatus.UNCONFIGURED)

    @property
    def state(self) -> int:
        """Return the present state, a constant of RegistrationStatus."""
        return self._message.state

    @property
    def message(self) -> RegistrationStatus:
        """Return the last status; not to be changed."""
        return self._message

    def set_state(self, state: int, error: RegistrationError | None = None) -> None:
        """Enter a state, with the reason if something is wrong."""
        with self._lock:
            if state == RegistrationStatus.READY:
                error = error or self.missing
            self._message.state = state
            self._set_error(error.code if error else ErrorCode.NONE, str(error or ''))
            self._message.checks = []
            if state not in _OF_THE_LAST_RESULT:
                self._message.valid_until = time_message(0)
            self.publish()

    def note_missing(self, error: RegistrationError | None) -> None:
        """Note which inputs are silent; whoever waits for an image is told."""
        with self._lock:
            changed, self.missing = str(error) != str(self.missing), error
            if changed and self.state == RegistrationStatus.READY:
                self.set_state(RegistrationStatus.READY)

    def set_ct(
        self, series_uid_hash: str, doubts: tuple[str, ...] = (), self_test: tuple[str, ...] = ()
    ) -> None:
        """Note another CT, the doubts about it and its self-test, in place of the one before."""
        with self._lock:
            self._message.ct_series_uid_hash = series_uid_hash
            self._message.warnings = list(doubts)
            self._message.self_test = list(self_test)
            self._message.result_stamp = self._message.valid_until = time_message(0)
            self.method = ''

    def set_result(self, result: RegistrationResult, valid_until_ns: int = 0) -> None:
        """Take over verdict, checks and error of a result, and count it.

        Args:
            result: what was found, or why nothing was.
            valid_until_ns: when a verified one is withdrawn.
        """
        with self._lock:
            note_result(self._message, result)
            self._message.valid_until = time_message(valid_until_ns)
            self.method = result.method or self.method
            self.publish()

    def count(self, result: RegistrationResult) -> None:
        """Count a result that is of no interest any more."""
        with self._lock:
            count_result(self._message, result)
            self.publish()

    def publish(self) -> None:
        """Send the status, with the age of the X-ray it speaks of."""
        with self._lock:
            now = self._node.get_clock().now()
            self._message.header.stamp = now.to_msg()
            stamp_ns = nanoseconds(self._message.result_stamp)
            # A stamp that makes no sense has no age that fits into a message.
            age_ns = max(0, now.nanoseconds - stamp_ns) if stamp_ns > 0 else 0
            self._message.age = Duration(sec=age_ns // NANOSECONDS, nanosec=age_ns % NANOSECONDS)
            counts = self.image_counts()
            self._message.images_received = counts.received
            self._message.images_dropped = counts.dropped
            self._message.images_lost = counts.lost
            self._publisher.publish(self._message)

    def _set_error(self, code: int, text: str) -> None:
        self._message.error = ErrorCodeMessage(code=int(code))
        self._message.error_message = text
