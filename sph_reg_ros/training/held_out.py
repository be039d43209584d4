"""Measurement on held-out X-rays."""

import math
from typing import Any

from sph_reg_ros.training.data import validation_key
from sph_reg_ros.training.task import Task

_BATCH = 16


class HeldOut:
    """Measures a network on the same X-rays every time."""

    def __init__(self, task: Task, seed: int) -> None:
        """Take what is measured; X-rays are made when they are first needed, and kept."""
        self._task, self._seed = task, seed
        self._batches: list[Any] = []

    def measure(self) -> dict[str, float]:
        """Return figures of how good the network is; those that are no numbers are left out."""
        if not self._batches:
            wanted = self._task.schedule.validation_images
            for first in range(0, wanted, _BATCH):
                seed_key = validation_key(self._seed, first)
                self._batches.append(self._task.held_out(min(_BATCH, wanted - first), seed_key))
        was_training = self._task.network.training
        self._task.network.eval()
        figures = self._task.measure(self._batches)
        self._task.network.train(was_training)
        return {name: value for name, value in figures.items() if math.isfinite(value)}
