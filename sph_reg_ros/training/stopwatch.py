"""Time per part of a training step."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Stopwatch:
    """Mean seconds of named parts of a training, from any thread.

    A GPU works on while Python goes on, so that its parts can be told from each other only by
    waiting for it. `wait` says when that is worth the loss; otherwise nothing is measured there.
    """

    def __init__(self, device: torch.device | str) -> None:
        """Measure work on a device."""
        self._device = torch.device(device)
        self._lock = threading.Lock()
        self._seconds: dict[str, list[float]] = {}

    @contextmanager
    def part(self, name: str, wait: bool = False) -> Iterator[None]:
        """Measure what happens inside."""
        is_gpu = self._device.type == 'cuda'
        if is_gpu and not wait:
            yield
            return
        if is_gpu:
            torch.cuda.synchronize(self._device)
        start = time.perf_counter()
        yield
        if is_gpu:
            torch.cuda.synchronize(self._device)
        with self._lock:
            self._seconds.setdefault(name, []).append(time.perf_counter() - start)

    def take(self) -> dict[str, float]:
        """Return the mean seconds of each part since this was last called."""
        with self._lock:
            found, self._seconds = self._seconds, {}
        return {name: sum(seconds) / len(seconds) for name, seconds in sorted(found.items())}
