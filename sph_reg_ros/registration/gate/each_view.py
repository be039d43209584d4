"""Does each X-ray alone want the pose that all of them share?

A view hardly holds on to its depth, so the wrong imager pose of another one moves the shared pose
along its beam, and the residuals of all views together find nothing wrong with that. One view by
itself does: it wants to go back.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from sph_reg_ros.errors import ErrorCode
from sph_reg_ros.geometry.box import mean_distance_mm
from sph_reg_ros.registration.covariance import pose_covariance
from sph_reg_ros.registration.gate.evidence import Evidence
from sph_reg_ros.registration.gate.targets import expected_error_mm
from sph_reg_ros.registration.gate_limits import MAX_VIEW_MM
from sph_reg_ros.registration.result import Check, Verdict
from sph_reg_ros.similarity import NormalEquations


@dataclass(frozen=True)
class OwnStep:
    """Where one view by itself leads to from the shared pose.

    Attributes:
        size_mm: mean distance of the targets from the pose after one Gauss-Newton step.
        sigma_mm: standard deviation of the pose by this view, rms over the targets.
    """

    size_mm: float
    sigma_mm: float

    @property
    def certain_mm(self) -> float:
        """Return the size less one standard deviation, which may be chance."""
        return self.size_mm - self.sigma_mm

    @property
    def error_mm(self) -> float:
        """Return by how much the shared pose may be wrong as far as this view can tell."""
        return math.hypot(self.size_mm, self.sigma_mm)


def own_steps(evidence: Evidence) -> tuple[OwnStep, ...]:
    """Return the step of each view; none for one view, whose step is that of all."""
    if len(evidence.finest.views) == 1:
        return ()
    return tuple(_own_step(evidence, view) for view in evidence.views)


def check_views(steps: Sequence[OwnStep]) -> Check | None:
    """Reject if a view certainly wants another pose than the others; None for one view."""
    if not steps:
        return None
    against = (Verdict.REJECTED, ErrorCode.NOT_CONVERGED)
    worst_mm = largest([0.0, *(step.certain_mm for step in steps)])
    return Check.at_most('views_disagree_mm', worst_mm, MAX_VIEW_MM, against)


def unknown_to_views_mm(steps: Sequence[OwnStep]) -> float:
    """Return the error that the view that tells least of it may hide; 0 for one view."""
    return largest([step.error_mm for step in steps]) if steps else 0.0


def largest(figures: Sequence[float]) -> float:
    """Return the largest figure, NaN if there is one."""
    return float(torch.tensor(figures, dtype=torch.float64).max())


def _own_step(evidence: Evidence, view: NormalEquations) -> OwnStep:
    pose, targets = evidence.pose, evidence.targets
    centre = evidence.finest.volume.centre
    size = mean_distance_mm(evidence.step_by([view]), pose, targets)
    sigma = expected_error_mm(pose_covariance([view]), pose, centre, targets).norm()
    return OwnStep(float(size), float(sigma))
