"""Liveness of a worker process by pings, also while it computes."""

import time
from multiprocessing.connection import Connection

from sph_reg_ros.service.protocol import Failure, Ping, Pong, ProgressReport, Reply

PING_PERIOD_S = 0.2


class Pulse:
    """Asks a process now and then whether it is there, and notes its answers.

    Before its first reply it counts as there: it may be importing, which blocks all of its threads
    for any time.

    Attributes:
        felt: whether there was a sign of life since the last question.
    """

    def __init__(self, connection: Connection) -> None:
        """Ask by a connection whose messages somebody else receives and shows to `note`."""
        self._connection = connection
        self._number = 0
        self._felt_s = self._asked_s = 0.0
        self._replied = False
        self.felt = True

    def restart(self) -> None:
        """Wait for a new sign of life, if the process can be expected to give one."""
        self._felt_s = time.monotonic()
        self.felt = not self._replied
        if self._replied:
            self._ask()

    def note(self, message: Reply | Failure | ProgressReport | Pong) -> None:
        """Take note of whatever the process said."""
        if isinstance(message, Pong) and message.number != self._number:
            return  # the answer to an older question
        self._felt_s, self.felt = time.monotonic(), True
        self._replied = self._replied or not isinstance(message, ProgressReport)

    def silent_s(self) -> float:
        """Return for how long there was no sign of life; ask for one now and then."""
        if not self._replied:
            return 0.0
        if self.felt and time.monotonic() > self._asked_s + PING_PERIOD_S:
            self._ask()
        return time.monotonic() - self._felt_s

    def _ask(self) -> None:
        self._number += 1
        self._asked_s, self.felt = time.monotonic(), False
        self._connection.send(Ping(self._number))
