"""Solvers that turn residuals into a pose."""

from sph_reg_ros.similarity.robust import RobustKernel
from sph_reg_ros.solvers.levenberg_marquardt import LMResult, levenberg_marquardt
from sph_reg_ros.solvers.normal_equations import normal_equations
from sph_reg_ros.solvers.settings import (
    LMConfig,
    StepUnits,
    StoppingRule,
    TerminationReason,
)

__all__ = [
    'LMConfig',
    'LMResult',
    'RobustKernel',
    'StepUnits',
    'StoppingRule',
    'TerminationReason',
    'levenberg_marquardt',
    'normal_equations',
]
