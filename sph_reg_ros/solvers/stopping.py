"""The paper's rule for the end of an optimisation."""

import math

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.geometry.se3 import TWIST_LENGTH_MM
from sph_reg_ros.solvers.settings import StepUnits

STEPS = 10


class StepSpread:
    """Remembers accepted steps and says when the last ten hardly differ (arXiv 2509.06890).

    The paper's threshold is 1e-2 without a unit, hence the choice of units.
    """

    def __init__(self, threshold: float, units: StepUnits) -> None:
        """Take the largest standard deviation (population, per direction) that counts as none."""
        self._threshold = threshold
        self._scale = torch.ones(6, dtype=torch.float64)
        if units is StepUnits.DEG_MM:
            self._scale = torch.tensor([180 / math.pi] * 3 + [TWIST_LENGTH_MM] * 3).double()
        self._steps: list[Tensor] = []

    def add(self, step: Float64[Tensor, '6']) -> None:
        """Remember an accepted step xi."""
        self._steps = [*self._steps[1 - STEPS :], step.detach() * self._scale]

    def is_small(self) -> bool:
        """Return whether there are ten steps, and their spread is below the threshold."""
        if len(self._steps) < STEPS:
            return False
        spread = torch.stack(self._steps).std(0, correction=0)
        return bool(spread.max() < self._threshold)
