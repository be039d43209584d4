"""X-rays simulated ahead in a background thread, so that publishing keeps its rate."""

from collections.abc import Callable
from queue import Empty, Full, Queue
from threading import Event, Thread

import torch

from sph_reg_ros.errors import CancelledError, RegistrationError
from sph_reg_ros.evaluation.carm import CArm, Exposure

TAKEN_AHEAD = 4
_POLL_S = 0.1


class ExposureQueue:
    """Images 0, 1, 2, ... in order, a few of them ready before they are asked for."""

    def __init__(self, build: Callable[[], CArm], images: int) -> None:
        """Start to work at once.

        Args:
            build: loads the patient and sets up the C-arm; called in the thread.
            images: how many images there will be; 0: no end.
        """
        self._build = build
        self._images = images
        self._ready: Queue[Exposure] = Queue(maxsize=TAKEN_AHEAD)
        self._stop = Event()
        self._error: RegistrationError | None = None
        self.carm: CArm | None = None
        self._thread = Thread(target=self._run, name='exposures', daemon=True)
        self._thread.start()

    def take(self) -> Exposure | None:
        """Return the next image, None if it is not ready yet."""
        try:
            return self._ready.get_nowait()
        except Empty:
            return None

    def raise_if_failed(self) -> None:
        """Raise RegistrationError if the patient could not be loaded."""
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Stop the thread and wait for it."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        # One thread each for this and for whoever registers: more only gets in each other's way.
        torch.set_num_threads(1)
        try:
            self.carm = self._build()
            index = 0
            while self._images == 0 or index < self._images:
                self._put(self.carm.expose(index, self._raise_if_stopped))
                index += 1
        except CancelledError:
            pass
        except RegistrationError as error:
            self._error = error

    def _put(self, exposure: Exposure) -> None:
        while True:
            self._raise_if_stopped()
            try:
                return self._ready.put(exposure, timeout=_POLL_S)
            except Full:
                continue

    def _raise_if_stopped(self) -> None:
        if self._stop.is_set():
            raise CancelledError()
