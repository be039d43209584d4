"""Client of the worker process; restarts it, with its CT, when it dies."""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import cast

from sph_reg_ros.errors import (
    CancelledError,
    CTError,
    ErrorCode,
    RegistrationError,
    RuntimeUnavailableError,
)
from sph_reg_ros.service.protocol import (
    CTLoaded,
    ListSeries,
    LoadCT,
    Ready,
    Register,
    Registered,
    Reply,
    Request,
    SeriesListed,
)
from sph_reg_ros.service.worker_process import POLL_S, Observer, Patience, Predicate, WorkerProcess

LOAD_TIMEOUT_S = 600.0
MAX_RESTARTS, RESTART_WINDOW_S = 3, 60.0


def _never() -> bool:
    return False


class WorkerClient:
    """Keeps a worker process and the CT that it holds; calls are serialised by a lock."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._lock = threading.Lock()
        self._process: WorkerProcess | None = None
        self._restarts: deque[float] = deque()
        # What shall be loaded, what that was, and whether the present process has it.
        self._ct: LoadCT | None = None
        self._known: CTLoaded | None = None
        self._ct_loaded = False
        self._stopping = threading.Event()
        self._closed = False
        self.restarts = 0

    @property
    def pid(self) -> int | None:
        """Return the id of the process, None if none was started."""
        return self._process.pid if self._process else None

    @property
    def alive(self) -> bool:
        """Return whether the process runs."""
        process = self._process
        return process is not None and process.alive

    def start(self) -> None:
        """Start the process; it is ready for calls at once, though slow to answer the first."""
        with self._lock:
            self._stopping.clear()
            self._restarts.clear()
            self._ct = None
            self._start()

    def require_ready(self) -> None:
        """Wait until the process has imported what it needs; raises RegistrationError."""
        with self._lock:
            self._call(Ready())

    def load_ct(
        self, request: LoadCT, on_loaded: Callable[[CTLoaded], None] = lambda loaded: None
    ) -> CTLoaded:
        """Load a CT; a registration that runs is finished first.

        Args:
            request: which CT.
            on_loaded: called before anything can be registered to the new CT.

        Raises:
            RegistrationError: the CT before, if there was one, is still there.
        """
        with self._lock:
            self._restart_if_dead()
            loaded = cast(CTLoaded, self._call(request))
            # A new process need not compile again: that lies on disk.
            self._ct = replace(request, backend=None, self_test=False)
            self._known, self._ct_loaded = loaded, True
            on_loaded(loaded)
            return loaded

    def list_series(self, path: str) -> tuple[str, ...]:
        """Return a line of text for each DICOM series of a folder. Raises RegistrationError."""
        with self._lock:
            return cast(SeriesListed, self._call(ListSeries(path))).lines

    def register(
        self,
        request: Register,
        timeout_s: float,
        cancelled: Predicate = _never,
        observer: Observer = lambda progress: None,
        *,
        silence_s: float = math.inf,
    ) -> Registered:
        """Register, reporting progress; stops soon after `cancelled` or the time limit.

        A process that shows no sign of life for `silence_s` is killed.

        Raises:
            RegistrationError: what the worker raised; CANCELLED, TIMEOUT or WORKER_DIED.
        """
        with self._turn(cancelled):
            self._revive(cancelled)
            patience = Patience(timeout_s, silence_s, cancelled, self._stopping.is_set)
            return cast(Registered, self._call(request, patience, observer))

    def lost(self, silence_s: float, interrupted: Predicate) -> bool:
        """Return whether the process that was started is dead; one that hangs is killed.

        Args:
            silence_s: how long to wait for a sign of life.
            interrupted: asked all the time; True ends the waiting, and nothing is killed.

        Raises:
            CancelledError: `interrupted` while another call was running.
        """
        with self._turn(interrupted):
            if self._process is None:
                return False
            stopping = self._stopping.is_set
            with suppress(RegistrationError):
                self._process.prove(Patience(math.inf, silence_s, interrupted, stopping))
            return not self._process.alive

    def revive(self, cancelled: Predicate = _never) -> bool:
        """Start a dead process again with its CT; return whether that was necessary.

        Raises:
            RegistrationError: WORKER_DIED, it dies again and again, or CANCELLED.
        """
        with self._turn(cancelled):
            return self._revive(cancelled)

    def close(self) -> None:
        """End the process for good; whoever would start it again gets CancelledError."""
        self._closed = True
        self.stop()

    def stop(self) -> None:
        """End the process; a call that waits for it raises CancelledError."""
        self._stopping.set()
        with self._lock:
            self._end()

    @contextmanager
    def _turn(self, given_up: Predicate) -> Iterator[None]:
        """Wait for the end of another call; raises CancelledError if nobody wants to any longer."""
        while not self._lock.acquire(timeout=POLL_S):
            if given_up() or self._stopping.is_set():
                raise CancelledError
        try:
            yield
        finally:
            self._lock.release()

    def _start(self) -> None:
        self._end()
        if self._closed:
            raise CancelledError
        self._process, self._ct_loaded = WorkerProcess(), False

    def _end(self) -> None:
        if self._process is not None:
            self._process.end()
        self._process = None

    def _revive(self, cancelled: Predicate) -> bool:
        if self._process is None:
            return False
        dead = self._restart_if_dead()
        if self._ct is not None and not self._ct_loaded:
            patience = Patience(
                LOAD_TIMEOUT_S, cancelled=cancelled, abandoned=self._stopping.is_set
            )
            if self._call(self._ct, patience) != self._known:
                self._ct = None
                self._process.end()
                raise CTError(
                    ErrorCode.CT_UNREADABLE,
                    'the worker died, and where the CT was there is another one now: load the CT '
                    'again',
                )
            self._ct_loaded = True
        return dead

    def _restart_if_dead(self) -> bool:
        dead = self._process is not None and not self.alive
        if dead:
            self._restart()
        return dead

    def _restart(self) -> None:
        now = time.monotonic()
        while self._restarts and self._restarts[0] < now - RESTART_WINDOW_S:
            self._restarts.popleft()
        if len(self._restarts) >= MAX_RESTARTS:
            raise RuntimeUnavailableError(
                ErrorCode.WORKER_DIED,
                f'the worker process died {MAX_RESTARTS + 1} times within {RESTART_WINDOW_S:g} s: '
                'look for its messages in the log, then configure the node again',
            )
        self._restarts.append(now)
        self.restarts += 1
        self._start()

    def _call(
        self,
        request: Request,
        patience: Patience | None = None,
        observer: Observer = lambda progress: None,
    ) -> Reply:
        """Send a request and wait for its reply; the caller holds the lock."""
        if self._stopping.is_set():
            raise CancelledError
        if self._process is None:
            raise RuntimeUnavailableError(ErrorCode.NOT_ACTIVE, 'the worker is not running')
        waiting = patience or Patience(LOAD_TIMEOUT_S, abandoned=self._stopping.is_set)
        return self._process.call(request, waiting, observer)
