"""Batches made on demand, or ahead of time by another thread."""

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import numba
import torch

T = TypeVar('T')
AHEAD = 2
"""Batches that wait for the network at most."""
_POLL_S = 0.2


@contextmanager
def batches(
    make: Callable[[int], T], steps: range, overlap: bool = True, renderer_threads: int = 0
) -> Iterator[Iterator[T]]:
    """Give an iterator over the batches of steps.

    Args:
        make: returns the batch of a step; must depend on the step alone.
        steps: which.
        overlap: make them in a thread. The renderer leaves Python to other threads while it works.
        renderer_threads: threads of the CPU renderer in that thread; 0 for its own choice.
    """
    if not overlap:
        yield map(make, steps)
        return
    ahead = _Ahead(make, steps, renderer_threads)
    try:
        yield iter(ahead)
    finally:
        ahead.close()


class _Ahead(Iterator[T]):
    """A thread that makes batches until AHEAD of them wait."""

    def __init__(self, make: Callable[[int], T], steps: range, renderer_threads: int) -> None:
        self._make, self._steps, self._threads = make, steps, renderer_threads
        self._ready: queue.Queue[T | BaseException | None] = queue.Queue(AHEAD)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name='batches', daemon=True)
        self._thread.start()

    def __next__(self) -> T:
        item = self._ready.get()
        if item is None:
            raise StopIteration
        if isinstance(item, BaseException):
            raise item
        return item

    def close(self) -> None:
        """End the thread after the batch that it is making."""
        self._closed.set()
        self._thread.join()

    def _run(self) -> None:
        # Both settings are those of this thread alone. Of torch's pool there would otherwise be a
        # second one whose threads keep the cores from the first.
        torch.set_num_threads(1)
        if self._threads > 0:
            numba.set_num_threads(min(self._threads, numba.config.NUMBA_NUM_THREADS))
        try:
            for step in self._steps:
                self._put(self._make(step))
                if self._closed.is_set():
                    return
            self._put(None)
        except BaseException as error:
            # It belongs to the one who waits for the batch.
            self._put(error)

    def _put(self, item: T | BaseException | None) -> None:
        while not self._closed.is_set():
            try:
                return self._ready.put(item, timeout=_POLL_S)
            except queue.Full:
                continue
