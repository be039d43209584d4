"""Does the pose fit what else is known: the initial pose, the field of view, C-arms?"""

from sph_reg_ros.errors import ErrorCode
from sph_reg_ros.geometry import se3
from sph_reg_ros.plausible import FIELD_DEG, MAX_ASPECT, SOURCE_PATIENT_MM, camera_figures
from sph_reg_ros.registration.gate.evidence import Evidence
from sph_reg_ros.registration.gate_limits import (
    MAX_CAMERA_MISFIT,
    MAX_SQUARED_DISTANCE,
    MIN_OVERLAP,
)
from sph_reg_ros.registration.prior import PosePrior, search_deviations
from sph_reg_ros.registration.result import Check, Verdict
from sph_reg_ros.registration.visibility import rays_through

_IMPLAUSIBLE = (Verdict.REJECTED, ErrorCode.CAMERA_INVALID)


def check_prior(evidence: Evidence) -> Check | None:
    """Reject a pose that the initial one's error does not explain; None if there is no such pose.

    The figure is the squared Mahalanobis distance by the config's search_*, chi squared with six
    degrees of freedom.
    """
    if evidence.initial is None:
        return None
    prior = PosePrior(evidence.initial, search_deviations(evidence.config), weight=1.0)
    centre = evidence.finest.volume.centre
    return check_distance(prior.squared_distance(evidence.pose, centre))


def check_distance(distance: float) -> Check:
    """Reject a pose at a squared Mahalanobis distance that an expected one's error excludes."""
    against = (Verdict.REJECTED, ErrorCode.FAR_FROM_PRIOR)
    return Check.at_most('prior_distance', distance, MAX_SQUARED_DISTANCE, against)


def check_overlap(evidence: Evidence) -> Check:
    """Doubt a pose at which too few rays meet the CT: in every view, the least share counts."""
    level = evidence.coarse
    shares = []
    for view, camera_from_first in zip(level.views, level.camera_from_first, strict=True):
        met = rays_through(level.volume, camera_from_first @ evidence.pose, view.camera)
        shares.append(met / (view.camera.height * view.camera.width))
    doubt = (Verdict.UNVERIFIED, ErrorCode.LITTLE_OVERLAP)
    return Check.at_least('overlap', min(shares), MIN_OVERLAP, doubt)


def check_camera(evidence: Evidence) -> Check:
    """Reject cameras and distances that no imager has (`plausible`).

    The figure is the largest ratio by which something leaves its range: angle of the field of
    view, aspect of a pixel, distance from the source.
    """
    level = evidence.finest
    misfits = []
    for view, camera_from_first in zip(level.views, level.camera_from_first, strict=True):
        # The last level keeps the aspect of its pixels up to rounding of its size.
        aspect, fields = camera_figures(view.camera.K, view.camera.size)
        misfits.append(aspect / MAX_ASPECT)
        for field_deg in fields:
            misfits += [field_deg / FIELD_DEG[1], FIELD_DEG[0] / field_deg]
        centre = se3.transform_points(camera_from_first @ evidence.pose, level.volume.centre[None])
        depth_mm = max(float(centre[0, 2]), 1e-9)
        misfits += [depth_mm / SOURCE_PATIENT_MM[1], SOURCE_PATIENT_MM[0] / depth_mm]
    return Check.at_most('camera_misfit', max(misfits), MAX_CAMERA_MISFIT, _IMPLAUSIBLE)
