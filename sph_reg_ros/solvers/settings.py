"""What the solver is told, and the reasons for which it stops."""

from dataclasses import dataclass
from enum import Enum, IntEnum

import torch
from torch import Tensor

from sph_reg_ros.errors import require_setting
from sph_reg_ros.similarity.robust import RobustKernel


class TerminationReason(IntEnum):
    """Why the solver stopped; the numbers are those of msg/RegistrationResult.msg.

    NOT_RUN and FAILED belong to results without a pose: the solver raises SolverError instead.
    """

    NOT_RUN = 0
    CONVERGED = 1
    MAX_ITERATIONS = 2
    STALLED = 3
    FAILED = 4


class StoppingRule(str, Enum):
    """When the solver has converged.

    PROMISE: the undamped Gauss-Newton step promises too small a share of the cost.
    STEP_SPREAD: the last ten steps hardly differ (arXiv 2509.06890).
    """

    PROMISE = 'promise'
    STEP_SPREAD = 'step_spread'


class StepUnits(str, Enum):
    """Units of the steps that STEP_SPREAD compares: degrees and mm, or those of the twist xi."""

    DEG_MM = 'deg_mm'
    XI = 'xi'


@dataclass(frozen=True)
class LMConfig:
    """Settings of the solver; rotations in rad, translations in units of the twist length.

    Attributes:
        max_iterations: steps tried, accepted or not.
        max_rotation: cap of a step's rotation.
        max_translation: cap of a step's translation.
        stopping_rule: what counts as converged.
        min_promise: for PROMISE: converged when the undamped Gauss-Newton step promises to lower
            the cost by a smaller share. For n independent residuals, a share of p is sqrt(n p)
            standard deviations of the pose.
        min_step_spread: for STEP_SPREAD: converged when the standard deviation of the last ten
            accepted steps is smaller in each of the six directions.
        step_units: units of `min_step_spread`, which the paper does not name.
        tolerance: a refused step below this also means convergence: the cost's own rounding
            decides there.
        initial_damping: relative to the diagonal of the normal matrix; one number, or a tensor of
            one for each of the six directions.
        max_damping: stalled above.
        min_gain: a step is accepted if the cost falls by this share of what the model promised.
        kernel: robust kernel of the residuals. Its scale is estimated from the residuals of each
            block at every accepted pose.
        differentiable: keep the graph of the unrolled steps, so that the pose has a derivative by
            whatever residuals, weights and `initial_damping` depend on. Without, no graph is built.
    """

    max_iterations: int = 30
    max_rotation: float = 0.175
    max_translation: float = 0.06
    stopping_rule: StoppingRule = StoppingRule.PROMISE
    min_promise: float = 1e-8
    min_step_spread: float = 1e-2
    step_units: StepUnits = StepUnits.DEG_MM
    tolerance: float = 1e-6
    initial_damping: float | Tensor = 1e-4
    max_damping: float = 1e8
    min_gain: float = 1e-3
    kernel: RobustKernel = RobustKernel.NONE
    differentiable: bool = False

    def __post_init__(self) -> None:
        """Check ranges; raises ConfigError."""
        for name in ('max_rotation', 'max_translation', 'max_damping'):
            require_setting(getattr(self, name) > 0, f'{name} must be positive')
        for name in ('max_iterations', 'min_promise', 'min_step_spread', 'tolerance', 'min_gain'):
            require_setting(getattr(self, name) >= 0, f'{name} must not be negative')
        damping = torch.as_tensor(self.initial_damping).detach()
        require_setting(damping.shape in ((), (6,)), 'initial_damping must be one number or six')
        require_setting(bool((damping > 0).all()), 'initial_damping must be positive')
