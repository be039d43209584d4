"""What the solver is told, and the reasons for which it stops."""

from dataclasses import dataclass
from enum import Enum, IntEnum

import torch
from torch import Tensor

from sph_reg_ros.errors import require_setting


class TerminationReason(IntEnum):
    """Why the solver stopped; the numbers are those of msg/RegistrationResult.msg.

    NOT_RUN and FAILED belong to results without a pose: the solver raises SolverError instead if no
    row has one.
    """

    NOT_RUN = 0
    CONVERGED = 1
    MAX_ITERATIONS = 2
    STALLED = 3
    FAILED = 4


class StoppingRule(str, Enum):
    """When the solver has converged.

    PREDICTED_REDUCTION: even the undamped Gauss-Newton step lowers the cost, by the linear model,
        by too small a share.
    STEP_SPREAD: the last ten steps hardly differ (arXiv 2509.06890).
    """

    PREDICTED_REDUCTION = 'predicted_reduction'
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
        min_predicted_reduction: for PREDICTED_REDUCTION: converged when the undamped Gauss-Newton
            step is predicted to lower the cost by a smaller share. For n independent residuals, a
            share of p is sqrt(n p) standard deviations of the pose.
        min_step_spread: for STEP_SPREAD: converged when the standard deviation of the last ten
            accepted steps is smaller in each of the six directions.
        step_units: units of `min_step_spread`, which the paper does not name.
        tolerance: a refused step below this also means convergence: the cost's own rounding
            decides there.
        initial_damping: relative to the diagonal of the normal matrix; one number, or a tensor of
            one for each unknown.
        max_damping: stalled above.
        min_gain: a step is accepted if the cost falls by this share of what the model promised.
        differentiable: keep the graph of the unrolled steps, so that the pose has a derivative by
            whatever residuals, weights and `initial_damping` depend on. Without, no graph is built.
    """

    max_iterations: int = 30
    max_rotation: float = 0.175
    max_translation: float = 0.06
    stopping_rule: StoppingRule = StoppingRule.PREDICTED_REDUCTION
    min_predicted_reduction: float = 1e-8
    min_step_spread: float = 1e-2
    step_units: StepUnits = StepUnits.DEG_MM
    tolerance: float = 1e-6
    initial_damping: float | Tensor = 1e-4
    max_damping: float = 1e8
    min_gain: float = 1e-3
    differentiable: bool = False

    def __post_init__(self) -> None:
        """Check ranges; raises ConfigError."""
        for name in ('max_rotation', 'max_translation', 'max_damping'):
            require_setting(getattr(self, name) > 0, f'{name} must be positive')
        limits = ('max_iterations', 'min_predicted_reduction', 'min_step_spread', 'tolerance')
        for name in (*limits, 'min_gain'):
            require_setting(getattr(self, name) >= 0, f'{name} must not be negative')
        damping = torch.as_tensor(self.initial_damping).detach()
        numbers = damping.ndim == 0 or (damping.ndim == 1 and len(damping) % 6 == 0)
        require_setting(numbers, 'initial_damping must be one number or one for each unknown')
        require_setting(bool((damping > 0).all()), 'initial_damping must be positive')
