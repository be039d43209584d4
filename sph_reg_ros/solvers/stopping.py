"""The paper's rule for the end of an optimisation."""

import math

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from sph_reg_ros.geometry.se3 import TWIST_LENGTH_MM
from sph_reg_ros.solvers.settings import StepUnits

STEPS = 10


class StepSpread:
    """Remembers accepted steps and says where the last ten hardly differ (arXiv 2509.06890).

    The paper's threshold is 1e-2 without a unit, hence the choice of units.
    """

    def __init__(self, threshold: float, units: StepUnits) -> None:
        """Take the largest standard deviation (population, per direction) that counts as none."""
        self._threshold = threshold
        rotation, translation = 1.0, 1.0
        if units is StepUnits.DEG_MM:
            rotation, translation = 180 / math.pi, TWIST_LENGTH_MM
        self._scale = [rotation] * 3 + [translation] * 3
        self._last: Float64[Tensor, 'B s n'] | None = None

    def add(self, steps: Float64[Tensor, 'B n'], accepted: Bool[Tensor, 'B']) -> None:
        """Remember the steps xi that were accepted; n is a multiple of six."""
        scaled = steps * steps.new_tensor(self._scale).repeat(steps.shape[1] // 6)
        if self._last is None:
            # No spread of less than ten steps is a number.
            self._last = scaled[:, None].expand(-1, STEPS, -1) * math.nan
        longer = torch.cat([self._last[:, 1:], scaled[:, None]], 1)
        self._last = torch.where(accepted[:, None, None], longer, self._last)

    def is_small(self) -> Bool[Tensor, 'B']:
        """Return where there are ten steps, and their spread is below the threshold."""
        assert self._last is not None
        return self._last.std(1, correction=0).amax(-1) < self._threshold

    def keep(self, rows: Int64[Tensor, 'b']) -> None:
        """Forget all but some rows."""
        if self._last is not None:
            self._last = self._last[rows]
