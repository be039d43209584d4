"""Registration of a CT to X-rays: request in, result out."""

from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.pipeline import register
from sph_reg_ros.registration.request import RegistrationRequest, View
from sph_reg_ros.registration.result import Check, Progress, RegistrationResult, Verdict
from sph_reg_ros.solvers import TerminationReason

__all__ = [
    'Check',
    'Progress',
    'RegistrationConfig',
    'RegistrationRequest',
    'RegistrationResult',
    'TerminationReason',
    'Verdict',
    'View',
    'register',
]
