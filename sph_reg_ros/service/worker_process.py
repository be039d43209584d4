"""A worker process that is started as a command and called over a socket."""

import math
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection

from sph_reg_ros.errors import CancelledError, ErrorCode, RegistrationError, RuntimeUnavailableError
from sph_reg_ros.service.protocol import Cancel, Failure, Pong, ProgressReport, Reply, Request
from sph_reg_ros.service.worker import error_from
from sph_reg_ros.service.worker_pulse import Pulse

Observer = Callable[[ProgressReport], None]
Predicate = Callable[[], bool]

POLL_S = 0.02
CANCEL_GRACE_S = 2.0
SEND_LIMIT_S = 5
"""A process that takes in nothing for so long is dead; listening is all that one thread does."""


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Patience:
    """How long to wait for a reply.

    Attributes:
        timeout_s: it is asked to stop afterwards, and killed if it does not listen.
        silence_s: it is killed if it shows no sign of life for so long.
        cancelled: asked all the time; True stops it in the same way as the timeout.
        abandoned: asked all the time; True ends the waiting at once.
    """

    timeout_s: float
    silence_s: float = math.inf
    cancelled: Predicate = _never
    abandoned: Predicate = _never

    def over(self) -> bool:
        """Return whether nobody wants to wait any longer."""
        return self.abandoned() or self.cancelled()


class WorkerProcess:
    """One process; it takes one call at a time.

    It is started as a command, not by multiprocessing: that would run the node's main module again
    in the child, and rclpy with it.
    """

    def __init__(self) -> None:
        """Start it; calls are possible at once, though the first has to wait for the imports."""
        self._connection, theirs = Pipe()
        _limit_sending(self._connection)
        self._pulse = Pulse(self._connection)
        # The package may be importable only by a path that this process added for itself.
        environment = os.environ | {'PYTHONPATH': os.pathsep.join(filter(None, sys.path))}
        self._process = subprocess.Popen(
            [sys.executable, '-m', 'sph_reg_ros.service.worker', str(theirs.fileno())],
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

    def prove(self, patience: Patience) -> None:
        """Return as soon as it has shown that it is there; it is killed if it does not in time.

        Raises:
            RegistrationError: WORKER_DIED, or CANCELLED if nobody wants to wait any longer.
        """
        with self._died_if_broken(patience):
            self._pulse.restart()
            while not self._pulse.felt:
                if patience.over():
                    raise CancelledError
                self._require_pulse(patience)
                if self._connection.poll(POLL_S):
                    self._pulse.note(self._connection.recv())

    def call(self, request: Request, patience: Patience, observer: Observer) -> Reply:
        """Send a request, wait for its reply and hand its progress on.

        Raises:
            RegistrationError: what the process answers; CANCELLED, TIMEOUT or WORKER_DIED.
        """
        # A process that hangs takes no image either, and whoever sends it one would hang as well.
        self.prove(patience)
        with self._died_if_broken(patience):
            self._connection.send(request)
            try:
                return self._wait(patience, observer)
            except (EOFError, OSError, RegistrationError):
                raise
            # Its reply is still due, and the next call would take it for its own.
            except BaseException:
                self._kill()
                raise

    @contextmanager
    def _died_if_broken(self, patience: Patience) -> Iterator[None]:
        try:
            yield
        except (EOFError, OSError):
            self._kill()
            if patience.abandoned():
                raise CancelledError from None
            raise RuntimeUnavailableError(
                ErrorCode.WORKER_DIED, 'the worker process died unexpectedly; it will be restarted'
            ) from None

    def _wait(self, patience: Patience, observer: Observer) -> Reply:
        deadline = time.monotonic() + patience.timeout_s
        ended: RegistrationError | None = None
        while True:
            if self._connection.poll(POLL_S):
                message = self._connection.recv()
                self._pulse.note(message)
                if not isinstance(message, ProgressReport | Pong):
                    return _reply(message, ended)
                if ended is None and isinstance(message, ProgressReport):
                    observer(message)
            if patience.abandoned():
                raise CancelledError
            self._require_pulse(patience)
            late = time.monotonic() > deadline
            if ended is None and (late or patience.cancelled()):
                ended = _too_late() if late else CancelledError()
                self._connection.send(Cancel(ended.code))
                deadline = time.monotonic() + CANCEL_GRACE_S
            elif ended is not None and late:
                # It hangs: the next call finds it dead and starts another.
                self._kill()
                raise ended

    def _require_pulse(self, patience: Patience) -> None:
        if self._pulse.silent_s() > patience.silence_s:
            self._kill()
            raise RuntimeUnavailableError(
                ErrorCode.WORKER_DIED,
                f'the worker process showed no sign of life for {patience.silence_s:g} s and was '
                'ended; it will be restarted',
            )

    def _kill(self) -> None:
        self._process.kill()
        self._process.wait()


def _limit_sending(connection: Connection) -> None:
    seconds = struct.pack('@ll', SEND_LIMIT_S, 0)
    with socket.socket(fileno=os.dup(connection.fileno())) as end:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, seconds)


def _reply(message: Reply | Failure, ended: RegistrationError | None) -> Reply:
    if isinstance(message, Failure):
        raise ended or error_from(message)
    # Nobody wants what was cancelled; what is late may be what was found before a second try.
    if isinstance(ended, CancelledError):
        raise ended
    return message


def _too_late() -> RuntimeUnavailableError:
    return RuntimeUnavailableError(
        ErrorCode.TIMEOUT, 'the registration took too long and was stopped'
    )
