"""Solvers that turn residuals into a pose."""

from sph_reg_ros.solvers.levenberg_marquardt import (
    LMConfig,
    LMResult,
    TerminationReason,
    levenberg_marquardt,
    normal_equations,
)

__all__ = ['LMConfig', 'LMResult', 'TerminationReason', 'levenberg_marquardt', 'normal_equations']
