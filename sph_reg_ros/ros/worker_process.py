"""A worker process: started as a command, spoken to over a socket, ended by the node."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing import Pipe

from sph_reg_ros.errors import CancelledError, ErrorCode, RuntimeUnavailableError
from sph_reg_ros.ros.protocol import Cancel, Failure, ProgressReport, Reply, Request
from sph_reg_ros.ros.worker import error_from

Observer = Callable[[ProgressReport], None]
Predicate = Callable[[], bool]

POLL_S = 0.02
CANCEL_GRACE_S = 2.0


class WorkerProcess:
    """One process; it takes one call at a time.

    It is started as a command, not by multiprocessing: that would run the node's main module again
    in the child, and rclpy with it.
    """

    def __init__(self) -> None:
        """Start it; calls are possible at once, though the first has to wait for the imports."""
        self._connection, theirs = Pipe()
        # The package may be importable only by a path that this process added for itself.
        environment = os.environ | {'PYTHONPATH': os.pathsep.join(filter(None, sys.path))}
        self._process = subprocess.Popen(
            [sys.executable, '-m', 'sph_reg_ros.ros.worker', str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env=environment,
            # Ctrl-C goes to a whole terminal session; this process is stopped by the node.
            start_new_session=True,
        )
        theirs.close()

    @property
    def pid(self) -> int:
        """Return its id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Return whether it runs."""
        return self._process.poll() is None

    def end(self) -> None:
        """End it at once."""
        self._connection.close()
        self._kill()

    def call(
        self,
        request: Request,
        timeout_s: float,
        cancelled: Predicate,
        abandoned: Predicate,
        observer: Observer,
    ) -> Reply:
        """Send a request and wait for its reply.

        Args:
            request: what to do.
            timeout_s: time limit; it is stopped afterwards, and killed if it does not listen.
            cancelled: asked all the time; True stops it in the same way.
            abandoned: asked all the time; True makes this return without waiting.
            observer: gets the progress.

        Raises:
            RegistrationError: what the process answers; CANCELLED, TIMEOUT or WORKER_DIED.
        """
        try:
            self._connection.send(request)
            return self._wait(time.monotonic() + timeout_s, cancelled, abandoned, observer)
        except (EOFError, OSError):
            if abandoned():
                raise CancelledError from None
            raise RuntimeUnavailableError(
                ErrorCode.WORKER_DIED, 'the worker process died unexpectedly; it will be restarted'
            ) from None

    def _wait(
        self, deadline: float, cancelled: Predicate, abandoned: Predicate, observer: Observer
    ) -> Reply:
        ended: CancelledError | RuntimeUnavailableError | None = None
        while True:
            if self._connection.poll(POLL_S):
                message = self._connection.recv()
                if not isinstance(message, ProgressReport):
                    return _reply(message, ended)
                if ended is None:
                    observer(message)
            if abandoned():
                raise CancelledError
            late = time.monotonic() > deadline
            if ended is None and (late or cancelled()):
                ended = _too_late() if late else CancelledError()
                self._connection.send(Cancel())
                deadline = time.monotonic() + CANCEL_GRACE_S
            elif ended is not None and late:
                # It hangs: the next call finds it dead and starts another.
                self._kill()
                raise ended

    def _kill(self) -> None:
        self._process.kill()
        self._process.wait()


def _reply(
    message: Reply | Failure, ended: CancelledError | RuntimeUnavailableError | None
) -> Reply:
    if ended is not None:
        raise ended
    if isinstance(message, Failure):
        raise error_from(message)
    return message


def _too_late() -> RuntimeUnavailableError:
    return RuntimeUnavailableError(
        ErrorCode.TIMEOUT, 'the registration took too long and was stopped'
    )
