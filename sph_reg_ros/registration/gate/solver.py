"""What the solver's own end says."""

import torch

from sph_reg_ros.errors import ErrorCode
from sph_reg_ros.registration.error_parts import ErrorParts, VerdictFor
from sph_reg_ros.registration.gate.evidence import Evidence
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


def check_deviations(deviation: ErrorParts, what: VerdictFor) -> list[Check]:
    """Doubt a pose whose standard deviations, across the beam and along it, are too large.

    The one that the verdict is not for is left out.
    """
    across = Check.at_most('sigma_across_beam_mm', deviation.across_mm, MAX_ACROSS_MM, _UNCERTAIN)
    along = Check.at_most('sigma_along_beam_mm', deviation.along_mm, MAX_ALONG_MM, _UNCERTAIN)
    return [
        *([] if what == VerdictFor.ALONG_BEAM else [across]),
        *([] if what == VerdictFor.ACROSS_BEAM else [along]),
    ]
