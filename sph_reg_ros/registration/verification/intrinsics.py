"""Would the X-ray look more like the CT through another focal length?

A wrong focal length or pixel pitch is nearly made good by a wrong depth, and no similarity tells:
what gives it away is the perspective, by which near parts are enlarged more than far ones.
"""

import math

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from sph_reg_ros.errors import ErrorCode
from sph_reg_ros.geometry import Camera, se3
from sph_reg_ros.geometry.se3 import TWIST_LENGTH_MM
from sph_reg_ros.registration.covariance import cluster_robust
from sph_reg_ros.registration.result import Check, Verdict
from sph_reg_ros.registration.verification.evidence import Evidence
from sph_reg_ros.registration.verification.limits import MAX_FOCAL_MISFIT
from sph_reg_ros.rendering.sampling import unit_directions
from sph_reg_ros.solvers import normal_equations

CERTAIN = 2.0
"""Standard deviations below which a change is taken for chance."""


def check_focal_length(evidence: Evidence) -> Check:
    """Reject if the X-ray certainly wants another focal length.

    A Gauss-Newton step from the pose is taken with pose and focal length free. The figure is the
    relative change of the focal length less CERTAIN of its standard deviations, 0 at least, the
    largest of the views.
    """
    misfits = []
    for number in range(len(evidence.finest.views)):
        change, deviation = wanted_change(evidence, number)
        misfits.append(max(0.0, abs(change) - CERTAIN * deviation))
    against = (Verdict.REJECTED, ErrorCode.CAMERA_INCONSISTENT)
    # NaN must not hide behind the first view's figure.
    misfit = max(misfits) if all(map(math.isfinite, misfits)) else math.nan
    return Check.at_most('focal_misfit', misfit, MAX_FOCAL_MISFIT, against)


def wanted_change(evidence: Evidence, number: int) -> tuple[float, float]:
    """Return the relative change of a view's focal length that it wants, and its deviation."""
    level = evidence.finest
    image, jacobian = level.renderings(evidence.pose)[number]
    camera = level.views[number].camera
    pose = level.camera_from_first[number] @ evidence.pose
    centre = se3.transform_points(pose, level.volume.centre[None].cpu())[0]
    column = by_focal_length(jacobian, camera, centre)
    block = level.similarities[number].residuals(
        image, torch.cat([jacobian, column[..., None]], -1)
    )
    A, g = normal_equations([block])
    step = torch.linalg.lstsq(A, -g[:, None], driver='gelsd').solution[:, 0]
    variance = cluster_robust([block], A)[-1, -1]
    return float(step[-1]), float(variance.clamp(min=0).sqrt())


def by_focal_length(
    jacobian: Float[Tensor, 'H W 6'], camera: Camera, centre: Float64[Tensor, '3']
) -> Float[Tensor, 'H W']:
    """Return the derivative of a rendering by the logarithm of the focal length.

    A longer focal length bends every ray towards the optical axis, and that is a turn about the
    source, another one in each pixel; what a turn does is known from the derivative by the pose.

    Args:
        jacobian: of the rendering by a twist about `centre` (`render_with_jacobian`).
        camera: intrinsics.
        centre: what twists turn about, camera coordinates (mm).
    """
    ray = unit_directions(camera.K, camera.size).double()
    # K scaled: x / z and y / z of a pixel's ray shrink by as much as the focal length grows.
    bent = torch.cat([-ray[..., :2], torch.zeros_like(ray[..., :1])], -1)
    # Turning the rays one way is turning the anatomy the other way.
    turn = -torch.linalg.cross(ray, bent)
    shift = torch.linalg.cross(turn, centre.expand_as(turn)) / TWIST_LENGTH_MM
    return (jacobian * torch.cat([turn, shift], -1).to(jacobian)).sum(-1)
