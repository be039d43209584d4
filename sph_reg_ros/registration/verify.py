"""The first gate: may this pose be used?

Each check compares one figure with one limit. They refuse what plainly failed; they do not yet
prove that a pose is right.
"""

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.registration.result import Check, Verdict
from sph_reg_ros.solvers import TerminationReason


def verify(
    termination: TerminationReason,
    similarity: float,
    covariance: Float64[Tensor, '6 6'],
    min_similarity: float,
) -> tuple[Verdict, tuple[Check, ...]]:
    """Return VERIFIED if every check passed, REJECTED otherwise, and the checks."""
    checks = (
        check_convergence(termination),
        check_similarity(similarity, min_similarity),
        check_covariance(covariance),
    )
    passed = all(check.passed for check in checks)
    return (Verdict.VERIFIED if passed else Verdict.REJECTED), checks


def check_convergence(termination: TerminationReason) -> Check:
    """Pass if the solver stopped because its steps had become negligible."""
    converged = float(TerminationReason.CONVERGED)
    return Check('convergence', float(termination), converged, termination == converged)


def check_similarity(similarity: float, limit: float) -> Check:
    """Pass if the normalised cross-correlation reaches the limit; NaN does not."""
    return Check('similarity', similarity, limit, similarity >= limit)


def check_covariance(covariance: Float64[Tensor, '6 6']) -> Check:
    """Pass if the covariance is finite and its least eigenvalue, the figure, is positive."""
    if not torch.isfinite(covariance).all():
        return Check('covariance', float('nan'), 0.0, False)
    least = float(torch.linalg.eigvalsh(covariance).min())
    return Check('covariance', least, 0.0, least > 0)
