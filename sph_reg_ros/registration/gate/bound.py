"""How wrong the pose may be: an estimate of the target registration error and a 95 % bound."""

import math
from collections.abc import Sequence
from statistics import median

from sph_reg_ros.errors import ErrorCode
from sph_reg_ros.registration.gate.each_view import OwnStep, unknown_to_views_mm
from sph_reg_ros.registration.gate.evidence import FAR, Evidence
from sph_reg_ros.registration.gate.pixel_grid import GridFit
from sph_reg_ros.registration.gate.reproducibility import Again
from sph_reg_ros.registration.gate.targets import expected_error_mm
from sph_reg_ros.registration.gate_limits import (
    BOUND_SCALE,
    ERROR_PER_DISTANCE,
    ERROR_PER_SIGMA,
    FLOOR_MM,
)
from sph_reg_ros.registration.result import Check, Verdict


def estimated_error_mm(
    evidence: Evidence, again: Again, steps: Sequence[OwnStep], grid: GridFit
) -> float:
    """Return the estimated rms error over the region of interest.

    The covariance knows noise and mismatch that varies over the image, and misjudges both. What all
    of the image has in common (scatter, beam hardening, a bent intensity curve) moves the optima of
    different similarities differently: how far they lie apart tells something of its size. Wrong
    imager poses do neither: several views are no surer of the pose than each can confirm it. What
    pixels that are not as the camera says have done to the pose is known in size only.
    """
    centre = evidence.finest.volume.centre
    sigma = expected_error_mm(evidence.covariance, evidence.pose, centre, evidence.targets)
    random = ERROR_PER_SIGMA * float(sigma.norm())
    systematic = ERROR_PER_DISTANCE * median((again.from_here_mm, *again.from_away_mm))
    estimate = math.hypot(
        random, systematic, FLOOR_MM, unknown_to_views_mm(steps), grid.pose_error_mm
    )
    return estimate if math.isfinite(estimate) else FAR


def bound_mm(estimate_mm: float) -> float:
    """Return the error that is not exceeded in 95 % of all cases; calibrated by bench/gate.py."""
    return BOUND_SCALE * estimate_mm


def check_bound(evidence: Evidence, bound: float) -> Check:
    """Doubt a pose whose error may exceed what the caller can bear."""
    doubt = (Verdict.UNVERIFIED, ErrorCode.POSE_UNCERTAIN)
    return Check.at_most('tre_p95_mm', bound, evidence.config.max_tre_mm, doubt)
