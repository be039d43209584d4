"""Interface between the training loop and what it trains."""

from collections.abc import Sequence
from typing import Any, Protocol

from jaxtyping import Float
from torch import Tensor, nn

from sph_reg_ros.networks.build import Network
from sph_reg_ros.training.data import SeedKey
from sph_reg_ros.training.schedule import Schedule
from sph_reg_ros.training.stopwatch import Stopwatch

Losses = dict[str, Float[Tensor, '']]
LOSS = 'loss'
"""Name of the loss that is minimised; the others are its parts, for the log."""


class Task(Protocol):
    """A network that learns something."""

    @property
    def schedule(self) -> Schedule:
        """Return for how long and how fast it learns."""

    @property
    def network(self) -> Network:
        """Return the network, whose weights are wanted in the end."""

    @property
    def stopwatch(self) -> Stopwatch:
        """Return what measures where the time goes."""

    @property
    def module(self) -> nn.Module:
        """Return a module that makes Losses of a batch, and has the network inside."""

    @property
    def pretrained(self) -> Sequence[nn.Parameter]:
        """Return the weights that begin trained and change less than the others."""

    def batch(self, count: int, seed_key: SeedKey, wait: bool = False) -> Any:
        """Return `count` examples, drawn by a seed key; `wait` measures time on a GPU too."""

    def held_out(self, count: int, seed_key: SeedKey) -> Any:
        """Return `count` examples to measure with."""

    def measure(self, batches: Sequence[Any]) -> dict[str, float]:
        """Return figures of how good the network is, units in their names."""
