"""How wrong the pose may be: an estimate of the target registration error and a 95 % bound.

Both are given for all of the error, for its part across the beam and for that along it.
"""

import math
from collections.abc import Sequence
from statistics import median

import torch

from sph_reg_ros.errors import ErrorCode
from sph_reg_ros.geometry import se3
from sph_reg_ros.registration.calibration import ImagerTrust
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.error_parts import ErrorParts
from sph_reg_ros.registration.gate.each_view import OwnStep, unknown_to_views
from sph_reg_ros.registration.gate.evidence import FAR, Evidence
from sph_reg_ros.registration.gate.pixel_grid import GridFit
from sph_reg_ros.registration.gate.reproducibility import Again
from sph_reg_ros.registration.gate.target_errors import TargetErrors
from sph_reg_ros.registration.gate_limits import (
    BOUND_SCALE,
    ERROR_PER_DISTANCE,
    ERROR_PER_SIGMA,
    FLOOR_MM,
)
from sph_reg_ros.registration.result import Check, Verdict
from sph_reg_ros.registration.view import View, cameras_from_first

_DOUBT = (Verdict.UNVERIFIED, ErrorCode.POSE_UNCERTAIN)


def estimated_error(
    evidence: Evidence, again: Again, steps: Sequence[OwnStep], grid: GridFit
) -> ErrorParts:
    """Return the estimated rms error over the region of interest.

    What all of the image has in common (scatter, beam hardening, a bent intensity curve) is in no
    covariance, but moves the optima of different similarities differently. Wrong imager poses do
    neither: several views are no surer of the pose than each can confirm it. What pixels that are
    not as the camera says have done to the pose is known in size only.
    """
    deviation = evidence.errors.by(evidence.covariance)
    others = [unknown_to_views(steps)] if steps else []
    return error_from(deviation, (again.from_here, *again.from_away), grid.pose_error, *others)


def error_from(
    deviation: ErrorParts, again: Sequence[ErrorParts], *others: ErrorParts
) -> ErrorParts:
    """Return the estimated error: random, systematic, and what else is known.

    The covariance knows noise and mismatch that varies over the image, and misjudges both. How far
    the optima of different similarities lie apart tells something of the size of other errors.

    Args:
        deviation: standard deviation of the pose.
        again: distances to where similarities that were not optimised lead.
        others: sizes of errors that neither knows.
    """
    random = deviation.scaled(ERROR_PER_SIGMA)
    systematic = ErrorParts.combined(median, again).scaled(ERROR_PER_DISTANCE)
    parts = random, systematic, ErrorParts.all_of(FLOOR_MM), *others
    return ErrorParts.combined(_together, parts)


def imager_error(views: Sequence[View], errors: TargetErrors, trust: ImagerTrust) -> ErrorParts:
    """Return how far the calibration leaves a body open that is small against its distance.

    The focal length moves it along the beam, the principal point across it. Where beams cross, each
    view tells the depth of the others as well as it tells what is across.
    """
    middle = se3.transform_points(errors.pose, errors.points).mean(0)
    distance_mm = float(middle.norm())
    camera = views[0].camera
    share = trust.principal_point * camera.height / camera.focal_length
    across_mm = math.sqrt(2) * share * distance_mm
    along_mm = trust.focal_length * distance_mm
    beams = torch.stack([pose[2, :3] for pose in cameras_from_first(views)])
    crossing = float(torch.linalg.cross(beams, beams[:1].expand_as(beams)).norm(dim=1).max())
    if crossing > 0:
        along_mm = min(along_mm, across_mm / crossing)
    return ErrorParts(math.hypot(across_mm, along_mm), across_mm, along_mm)


def bound_of(estimate: ErrorParts) -> ErrorParts:
    """Return the error that is not exceeded in 95 % of all cases; calibrated by bench/gate.py."""
    return estimate.scaled(BOUND_SCALE)


def check_bound(bound: ErrorParts, config: RegistrationConfig) -> list[Check]:
    """Doubt a pose whose error may exceed what the caller can bear, in what he asks for."""
    limits = {
        'tre_p95_across_mm': (bound.across_mm, config.max_tre_across_mm),
        'tre_p95_along_mm': (bound.along_mm, config.max_tre_along_mm),
    }
    asked = {name: pair for name, pair in limits.items() if pair[1] > 0}
    asked = asked or {'tre_p95_mm': (bound.total_mm, config.max_tre_mm)}
    return [Check.at_most(name, *figures, _DOUBT) for name, figures in asked.items()]


def _together(sizes: list[float]) -> float:
    size = math.hypot(*sizes)
    return size if math.isfinite(size) else FAR
