"""Publishes the node's health on /diagnostics; names no patient."""

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from sph_reg_ros.errors import ErrorCode, RegistrationError
from sph_reg_ros.msg import RegistrationStatus
from sph_reg_ros.registration.error_parts import VerdictFor

OK, WARN, ERROR, STALE = (
    DiagnosticStatus.OK,
    DiagnosticStatus.WARN,
    DiagnosticStatus.ERROR,
    DiagnosticStatus.STALE,
)
STATES = {
    RegistrationStatus.UNCONFIGURED: ('unconfigured', WARN),
    RegistrationStatus.READY: ('ready', OK),
    RegistrationStatus.REGISTERING: ('registering', OK),
    RegistrationStatus.VERIFIED: ('verified', OK),
    RegistrationStatus.UNVERIFIED: ('unverified', WARN),
    RegistrationStatus.REJECTED: ('rejected', WARN),
    RegistrationStatus.STALE: ('stale', STALE),
    RegistrationStatus.INACTIVE: ('inactive', OK),
    RegistrationStatus.ERROR: ('error', ERROR),
}

PARTS = {
    VerdictFor.POSE: '',
    VerdictFor.ACROSS_BEAM: ' for the position across the beam only',
    VerdictFor.ALONG_BEAM: ' for the position along the beam only',
}


class Diagnostics:
    """Publisher of one DiagnosticStatus each for registration, CT, images and worker."""

    def __init__(self, node: Node) -> None:
        """Advertise /diagnostics."""
        self._node = node
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', 10)

    def publish(
        self,
        status: RegistrationStatus,
        worker_alive: bool,
        restarts: int,
        *,
        has_networks: bool,
        method: str,
        missing: RegistrationError | None,
    ) -> None:
        """Send the state of the node.

        Args:
            status: the last one.
            worker_alive: whether the worker process runs.
            restarts: of the worker.
            has_networks: whether there are networks for the CT.
            method: of the last registration.
            missing: which inputs are silent; None if none is.
        """
        array = DiagnosticArray()
        array.header.stamp = self._node.get_clock().now().to_msg()
        array.status = [
            self._registration(status, method),
            self._ct(status, has_networks),
            self._images(status, missing),
            self._worker(status, worker_alive, restarts),
        ]
        self._publisher.publish(array)

    def _registration(self, status: RegistrationStatus, method: str) -> DiagnosticStatus:
        text, level = STATES[status.state]
        if status.state == RegistrationStatus.VERIFIED:
            text += PARTS[VerdictFor(status.verdict_for)]
        values = {'method': method}
        values |= {check.name: f'{check.value:.6g}' for check in status.checks}
        # Not the error's text: it may hold a path, and a path may hold a patient's name.
        error = ErrorCode(status.error.code)
        message = f'{text}: {error.name}' if error else text
        return self._status('registration', level, message, values)

    def _ct(self, status: RegistrationStatus, has_networks: bool) -> DiagnosticStatus:
        series = status.ct_series_uid_hash
        level, message = (OK, 'loaded') if series else (WARN, 'no CT is loaded')
        if status.warnings:
            level, message = WARN, '; '.join(status.warnings)
        # Not the name of their folder, which may be a patient's.
        networks = 'loaded' if has_networks else 'none'
        values = {'series UID hash': series, 'networks': networks}
        return self._status('CT', level, message, values)

    def _images(
        self, status: RegistrationStatus, missing: RegistrationError | None
    ) -> DiagnosticStatus:
        counters = {
            'received': status.images_received,
            'registered': status.images_registered,
            'refused': status.images_refused,
            'dropped': status.images_dropped,
            'lost': status.images_lost,
        }
        values = {name: str(count) for name, count in counters.items()}
        if missing is not None:
            return self._status('images', WARN, str(missing), values)
        return self._status('images', OK, f'{status.images_received} received', values)

    def _worker(self, status: RegistrationStatus, alive: bool, restarts: int) -> DiagnosticStatus:
        expected = status.state != RegistrationStatus.UNCONFIGURED
        level = OK if alive or not expected else ERROR
        message = 'running' if alive else 'not running'
        return self._status('worker', level, message, {'restarts': str(restarts)})

    def _status(
        self, part: str, level: bytes, message: str, values: dict[str, str]
    ) -> DiagnosticStatus:
        name = self._node.get_fully_qualified_name().lstrip('/')
        return DiagnosticStatus(
            name=f'{name}: {part}',
            hardware_id='',
            level=level,
            message=message,
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )
