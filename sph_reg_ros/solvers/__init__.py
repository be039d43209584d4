"""Solvers that turn residuals into poses."""

from sph_reg_ros.solvers.levenberg_marquardt import LMResult, levenberg_marquardt
from sph_reg_ros.solvers.settings import LMConfig, StepUnits, StoppingRule, TerminationReason

__all__ = [
    'LMConfig',
    'LMResult',
    'StepUnits',
    'StoppingRule',
    'TerminationReason',
    'levenberg_marquardt',
]
