"""Loads CTs, on configure and by the service ~/load_ct."""

import threading
from collections.abc import Callable
from pathlib import Path

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node

from sph_reg_ros.errors import ErrorCode, RegistrationError, RuntimeUnavailableError
from sph_reg_ros.imaging.bodies.entries import read_entries
from sph_reg_ros.msg import ErrorCode as ErrorCodeMessage
from sph_reg_ros.msg import RegistrationStatus
from sph_reg_ros.ros.registrar import Registrar
from sph_reg_ros.ros.status import StatusBoard
from sph_reg_ros.service.allowed_paths import AllowedPaths
from sph_reg_ros.service.body_frames import require_own_frames
from sph_reg_ros.service.parameters import NodeParameters
from sph_reg_ros.service.protocol import CTLoaded, LoadCT
from sph_reg_ros.service.worker_client import WorkerClient
from sph_reg_ros.srv import LoadCT as LoadCTService

# Refused before anything was tried.
_NOT_TRIED = (ErrorCode.NOT_ACTIVE, ErrorCode.BUSY, ErrorCode.PATH_NOT_ALLOWED)


class CTLoader:
    """Loads a CT into the worker; if that fails, the previous one stays in use.

    Attributes:
        has_networks: whether there are networks for the CT.
    """

    def __init__(
        self,
        node: Node,
        worker: WorkerClient,
        registrar: Registrar,
        status: StatusBoard,
        parameters: Callable[[], NodeParameters],
        paths: AllowedPaths,
    ) -> None:
        """Load nothing yet."""
        self._node, self._worker = node, worker
        self._registrar, self._status, self._parameters = registrar, status, parameters
        self._paths = paths
        self._busy = threading.Lock()
        self.has_networks = False

    def serve(
        self, phase: Callable[[], str], on_loaded: Callable[[], None], group: CallbackGroup
    ) -> None:
        """Offer ~/load_ct; `phase` tells the node's, `on_loaded` is called after a success."""
        self._phase, self._on_loaded = phase, on_loaded
        self._node.create_service(
            LoadCTService, '~/load_ct', self._on_request, callback_group=group
        )

    def load(self, path: str, series_uid: str) -> None:
        """Load a CT with its networks and compile; what came of the CT before is withdrawn then.

        Raises:
            RegistrationError: the CT before, if there was one, is still in use.
        """
        if not self._busy.acquire(blocking=False):
            raise RuntimeUnavailableError(ErrorCode.BUSY, 'another CT is being loaded')
        try:
            path, parameters = self._paths.require(path), self._parameters()
            bodies = parameters.bodies.path
            if bodies:
                bodies = self._paths.require(bodies)
                require_own_frames(read_entries(Path(bodies)), parameters)
            labels = parameters.ct.labels
            if labels:
                labels = self._paths.require(labels)
            config = parameters.registration.config
            weights = None if config.method == 'image' else self._weights_path(parameters)
            request = LoadCT(
                path,
                series_uid,
                parameters.ct.energy_kev,
                weights,
                config.backend,
                parameters.ct.assume_lps,
                config.device,
                bodies,
                # Whoever started the node may have anything read.
                None if self._paths.is_given(parameters.bodies.path) else parameters.paths.allowed,
                parameters.ct.self_test,
                labels,
            )
            loaded = self._worker.load_ct(
                request,
                lambda new: self._use(
                    new.series_uid_hash, bool(new.networks), new.doubts, new.self_test
                ),
            )
            self._node.get_logger().info(loaded_text(loaded))
            for line in loaded.self_test:
                self._node.get_logger().info(f'self-test {line}')
            for doubt in loaded.doubts:
                self._node.get_logger().warning(doubt)
        finally:
            self._busy.release()

    def _weights_path(self, parameters: NodeParameters) -> str:
        path = parameters.weights.path
        return self._paths.require(path) if path else ''

    def forget(self) -> None:
        """Unset the CT; stops running registrations and withdraws their results."""
        self._use('', False)

    def _use(
        self,
        series_uid_hash: str,
        has_networks: bool,
        doubts: tuple[str, ...] = (),
        self_test: tuple[str, ...] = (),
    ) -> None:
        """Set the CT; stops running registrations and withdraws results of the previous one."""
        self._registrar.ct_hash = series_uid_hash
        self._registrar.reset()
        if self._phase() == 'active':
            self._registrar.say_ready()
        # Last: a status with this hash must not say VERIFIED of the CT before.
        self.has_networks = has_networks
        self._status.set_ct(series_uid_hash, doubts, self_test)

    def _on_request(
        self, request: LoadCTService.Request, response: LoadCTService.Response
    ) -> LoadCTService.Response:
        try:
            self._require_configured()
            self.load(request.path, request.series_uid)
        except RegistrationError as error:
            self._answer_error(request.path, error, response)
            return response
        if self._phase() == 'active':
            # An X-ray may be registered to the new CT by now: its state stays.
            self._status.publish()
        else:
            self._status.set_state(RegistrationStatus.INACTIVE)
        self._on_loaded()
        response.success = True
        response.message = '; '.join(('loaded', *self._status.message.warnings))
        response.ct_series_uid_hash = self._registrar.ct_hash
        return response

    def _answer_error(
        self, path: str, error: RegistrationError, response: LoadCTService.Response
    ) -> None:
        kept = f'; CT {self._registrar.ct_hash} stays in use' if self._registrar.ct_hash else ''
        self._node.get_logger().error(f'load_ct failed: {error} [{error.code.name}]{kept}')
        response.error = ErrorCodeMessage(code=int(error.code))
        response.message = f'{error}{kept}'
        response.ct_series_uid_hash = self._registrar.ct_hash
        # One that is kept works as before, and so the state is what it was.
        if error.code not in _NOT_TRIED and not kept:
            self._status.set_state(RegistrationStatus.ERROR, error)
        if error.code == ErrorCode.CT_SEVERAL_SERIES:
            response.series = list(self._worker.list_series(self._paths.require(path)))

    def _require_configured(self) -> None:
        if self._phase() == 'unconfigured':
            raise RuntimeUnavailableError(
                ErrorCode.NOT_ACTIVE, 'the node is not configured: configure it first'
            )


def loaded_text(loaded: CTLoaded) -> str:
    """Return a line for the log."""
    shape = ' x '.join(str(n) for n in reversed(loaded.shape))
    networks = f'networks {loaded.networks}' if loaded.networks else 'no networks'
    return f'CT {loaded.series_uid_hash} loaded on {loaded.device}, {shape} voxels, {networks}'
