"""What the solver's own end says."""

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.errors import ErrorCode
from sph_reg_ros.registration.gate.evidence import Evidence
from sph_reg_ros.registration.gate.targets import expected_error_mm
from sph_reg_ros.registration.gate_limits import (
    MAX_ACROSS_MM,
    MAX_ALONG_MM,
    MAX_CONDITION,
)
from sph_reg_ros.registration.result import Check, Verdict
from sph_reg_ros.solvers import TerminationReason

_UNSOUND = (Verdict.UNVERIFIED, ErrorCode.NUMERICAL)
_UNCERTAIN = (Verdict.UNVERIFIED, ErrorCode.POSE_UNCERTAIN)


def check_convergence(evidence: Evidence) -> Check:
    """Doubt a solver that did not stop because its steps had become negligible."""
    converged = evidence.termination == TerminationReason.CONVERGED
    verdict, reason = Verdict.UNVERIFIED, ErrorCode.NOT_CONVERGED
    if converged:
        verdict, reason = Verdict.VERIFIED, ErrorCode.NONE
    figures = float(evidence.termination), float(TerminationReason.CONVERGED)
    return Check('convergence', *figures, verdict, reason)


def check_covariance(evidence: Evidence) -> Check:
    """Doubt a covariance that is not finite, symmetric and positive, or hardly invertible.

    The figure is the ratio of its largest and smallest eigenvalue, rotations measured in units of
    the twist length; infinite if it is none.
    """
    covariance = evidence.covariance
    condition = float('inf')
    if torch.isfinite(covariance).all() and torch.equal(covariance, covariance.T):
        least, *_, largest = torch.linalg.eigvalsh(covariance).tolist()
        condition = largest / least if least > 0 else float('inf')
    return Check.at_most('covariance_condition', condition, MAX_CONDITION, _UNSOUND)


def check_uncertainty(evidence: Evidence) -> tuple[Check, Check]:
    """Doubt a pose whose standard deviations, across the beam and along it, are too large."""
    covariance, pose = evidence.covariance, evidence.pose
    centre = evidence.finest.volume.centre
    return check_deviations(expected_error_mm(covariance, pose, centre, evidence.targets))


def check_deviations(sigma_mm: Float64[Tensor, '3']) -> tuple[Check, Check]:
    """Doubt standard deviations along the camera's axes, the last one the beam's."""
    x, y, z = sigma_mm.tolist()
    across = (x**2 + y**2) ** 0.5
    return (
        Check.at_most('sigma_across_beam_mm', across, MAX_ACROSS_MM, _UNCERTAIN),
        Check.at_most('sigma_along_beam_mm', z, MAX_ALONG_MM, _UNCERTAIN),
    )
