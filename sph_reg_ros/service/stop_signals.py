"""SIGINT and SIGTERM as an event that asks a process to stop."""

import signal
import threading
from types import FrameType

_STOP = threading.Event()


def stop_on_signals() -> threading.Event:
    """Return the event that SIGINT and SIGTERM set from now on, the same in every call.

    The executables call this before they import anything that takes its time; `main` calls it
    again for whoever starts a node in another way.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    return _STOP


def _stop(number: int, frame: FrameType | None) -> None:
    _STOP.set()
