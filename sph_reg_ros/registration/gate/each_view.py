"""Does each X-ray alone want the pose that all of them share?

A view hardly holds on to its depth, so the wrong imager pose of another one moves the shared pose
along its beam, and the residuals of all views together find nothing wrong with that. One view by
itself does: it wants to go back.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sph_reg_ros.errors import ErrorCode
from sph_reg_ros.registration.covariance import pose_covariance
from sph_reg_ros.registration.error_parts import ErrorParts, VerdictFor
from sph_reg_ros.registration.gate.evidence import Evidence
from sph_reg_ros.registration.gate_limits import MAX_VIEW_MM
from sph_reg_ros.registration.result import Check, Verdict
from sph_reg_ros.similarity import NormalEquations


@dataclass(frozen=True)
class OwnStep:
    """Where one view by itself leads to from the shared pose.

    Attributes:
        size: mean distance of the targets from the pose after one Gauss-Newton step.
        sigma: standard deviation of the pose by this view, rms over the targets.
    """

    size: ErrorParts
    sigma: ErrorParts

    def certain_mm(self, what: VerdictFor) -> float:
        """Return the size less one standard deviation, which may be chance."""
        return self.size.asked(what) - self.sigma.asked(what)

    @property
    def error(self) -> ErrorParts:
        """Return by how much the shared pose may be wrong as far as this view can tell."""
        return ErrorParts.together((self.size, self.sigma))


def own_steps(evidence: Evidence) -> tuple[OwnStep, ...]:
    """Return the step of each view; none for one view, whose step is that of all."""
    if len(evidence.finest.views) == 1:
        return ()
    return tuple(_own_step(evidence, view) for view in evidence.views)


def check_views(steps: Sequence[OwnStep], what: VerdictFor) -> Check | None:
    """Reject if a view certainly wants another pose than the others; None for one view."""
    if not steps:
        return None
    against = (Verdict.REJECTED, ErrorCode.NOT_CONVERGED)
    worst_mm = largest([0.0, *(step.certain_mm(what) for step in steps)])
    return Check.at_most('views_disagree_mm', worst_mm, MAX_VIEW_MM, against)


def unknown_to_views(steps: Sequence[OwnStep]) -> ErrorParts:
    """Return the error that the view that tells least of it may hide."""
    return ErrorParts.combined(largest, [step.error for step in steps])


def largest(figures: Sequence[float]) -> float:
    """Return the largest figure, NaN if there is one."""
    return math.nan if any(map(math.isnan, figures)) else max(figures)


def _own_step(evidence: Evidence, view: NormalEquations) -> OwnStep:
    errors = evidence.errors
    return OwnStep(errors.to(evidence.step_by([view])), errors.by(pose_covariance([view])))
