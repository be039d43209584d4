"""Progress, speed and mean losses of a training."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sph_reg_ros.training.task import LOSS

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class TrainingProgress:
    """What is known at an entry of the log.

    Attributes:
        step: steps done.
        steps: steps in all.
        losses: means since the last entry, the whole one under LOSS.
        accuracy: measured last on held-out X-rays, empty before.
        images_per_s: X-rays that all devices learned from, since the last entry.
        seconds_left: at that speed.
        seconds_a_step: of the parts of a step. Parts of making a batch run beside the others while
            batches are made ahead of time.
    """

    step: int
    steps: int
    losses: Mapping[str, float]
    accuracy: Mapping[str, float]
    images_per_s: float
    seconds_left: float
    seconds_a_step: Mapping[str, float]

    @property
    def loss(self) -> float:
        """Return the whole loss."""
        return self.losses[LOSS]


@dataclass(frozen=True)
class Trained:
    """How a training ended.

    Attributes:
        step: steps done.
        steps: steps in all; fewer were done if it was stopped.
        accuracy: on held-out X-rays; empty if it was stopped before the first measurement.
    """

    step: int
    steps: int
    accuracy: dict[str, float]

    @property
    def is_complete(self) -> bool:
        """Return whether it was not stopped."""
        return self.step == self.steps


class Speedometer:
    """Steps per second, without the time that it is told to leave out."""

    def __init__(self, step: int) -> None:
        """Start at a number of steps done."""
        self._step, self._start, self._left_out = step, time.monotonic(), 0.0

    def leave_out(self, seconds: float) -> None:
        """Do not count that time."""
        self._left_out += seconds

    def take(self, step: int) -> float:
        """Return the speed since this was last called."""
        now = time.monotonic()
        speed = (step - self._step) / max(now - self._start - self._left_out, 1e-9)
        self._step, self._start, self._left_out = step, now, 0.0
        return speed


class Means:
    """Sums of losses since the last entry of the log.

    They stay on the network's device: to ask for a number would make Python wait for a GPU.
    """

    def __init__(self, sums: Mapping[str, float], count: int) -> None:
        """Go on with sums of `count` steps."""
        self._sums: dict[str, Tensor | float] = dict(sums)
        self.count = count

    def add(self, losses: 'Mapping[str, Tensor]') -> None:
        """Add the losses of a step."""
        self.count += 1
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + value.detach()

    def sums(self) -> dict[str, float]:
        """Return the sums."""
        return {name: float(value) for name, value in self._sums.items()}

    def take(self) -> dict[str, float]:
        """Return the means, and start again."""
        means = {name: value / max(1, self.count) for name, value in self.sums().items()}
        self._sums, self.count = {}, 0
        return means
