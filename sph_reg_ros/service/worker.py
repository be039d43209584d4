"""The process that computes: `python -m sph_reg_ros.service.worker FD` serves requests on a socket.

It never imports rclpy, ignores SIGINT and SIGTERM (the node stops it) and ends at once when the
other end of its socket closes, so that it cannot outlive the node.
"""

import gc
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from queue import SimpleQueue

from sph_reg_ros import errors
from sph_reg_ros.errors import (
    CancelledError,
    ErrorCode,
    RegistrationError,
    missing_package,
    registration_error,
)
from sph_reg_ros.service.protocol import Cancel, Failure, Ping, Pong, ProgressReport, Reply, Request

Report = Callable[[ProgressReport], None]
Handler = Callable[[Request, Report], Reply]
Spare = Callable[[Callable[[], None]], None]
"""Work for when nobody asks for anything; calls its argument often, which answers what has come."""


def _nothing(answer: Callable[[], None]) -> None:
    """Have no work of one's own."""


class Server:
    """Answer requests one after the other; a thread listens for Cancel and Ping meanwhile."""

    def __init__(self, connection: Connection) -> None:
        """Serve on a connected socket."""
        self._connection = connection
        self._requests: SimpleQueue[Request] = SimpleQueue()
        self._cancelled: ErrorCode | None = None
        self._sending = threading.Lock()

    def listen(self) -> None:
        """Receive until the node closes its end, then end the process, whatever it is doing."""
        try:
            while True:
                message = self._connection.recv()
                if isinstance(message, Cancel):
                    self._cancelled = message.code
                elif isinstance(message, Ping):
                    self._send(Pong(message.number))
                else:
                    self._cancelled = None
                    self._requests.put(message)
        except (EOFError, OSError):
            os._exit(0)

    def serve(self, handler: Handler, spare: Spare = _nothing) -> None:
        """Answer until the node closes its end, and do spare work in between."""
        with suppress(OSError):
            while True:
                if self._requests.empty():
                    spare(lambda: self._answer_waiting(handler))
                self._send(self._answer(handler, self._requests.get()))

    def _answer_waiting(self, handler: Handler) -> None:
        while not self._requests.empty():
            self._send(self._answer(handler, self._requests.get()))

    def _answer(self, handler: Handler, request: Request) -> Reply | Failure:
        try:
            return handler(request, self._report)
        # A bug in one request must not take down the process that serves the next.
        except Exception as error:
            typed = registration_error(error)
            return Failure(type(typed).__name__, typed.code, str(typed))

    def _report(self, progress: ProgressReport) -> None:
        code = self._cancelled
        if code is not None:
            raise CancelledError(code)
        self._send(progress)

    def _send(self, message: Reply | Failure | ProgressReport | Pong) -> None:
        with self._sending:
            self._connection.send(message)


def error_from(failure: Failure) -> RegistrationError:
    """Return the error that a Failure stands for, ready to be raised."""
    return getattr(errors, failure.kind)(failure.code, failure.message)


def main() -> None:
    """Serve on the socket whose descriptor is the only argument."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    server = Server(Connection(int(sys.argv[1])))
    threading.Thread(target=server.listen, daemon=True).start()
    # torch takes seconds to import: from here on the process already ends with its node.
    # Most of what the imports leave behind is never garbage: looking for it again and again takes a
    # fifth of the start, and later holds registrations up.
    gc.disable()
    work = _handler()
    gc.freeze()
    gc.enable()
    server.serve(*work)


def _handler() -> tuple[Handler, Spare]:
    """Return what carries requests out; without the packages for that, every one says so."""
    try:
        from sph_reg_ros.service.session import RegistrationSession
    # OSError: a library that a package brings along cannot be loaded.
    except (ImportError, OSError) as error:
        missing = missing_package(error)
    else:
        session = RegistrationSession(checks_later=True)
        return session.handle, session.check_frame

    def refuse(request: Request, report: Report) -> Reply:
        raise missing

    return refuse, _nothing


if __name__ == '__main__':
    main()
