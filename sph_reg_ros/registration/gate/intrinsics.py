"""Would the X-ray look more like the CT through another camera?

A wrong focal length or pixel pitch is nearly made good by a wrong depth, a wrong principal point by
a turn about the source, and no similarity tells. What gives them away is the perspective: near
parts are enlarged more than far ones, one side of the image more than the other.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from sph_reg_ros.errors import ErrorCode
from sph_reg_ros.geometry import Camera
from sph_reg_ros.registration.covariance import cluster_robust
from sph_reg_ros.registration.gate.bent_rays import INTRINSICS, by_pose_and_imager
from sph_reg_ros.registration.gate.evidence import Evidence, gauss_newton_step
from sph_reg_ros.registration.gate.pixel_grid import EXPECTED, Misfit, largest_misfit, percent
from sph_reg_ros.registration.gate_limits import (
    MAX_FOCAL_MISFIT,
    MAX_PRINCIPAL_POINT_MISFIT,
)
from sph_reg_ros.registration.level import Level
from sph_reg_ros.registration.result import Check, Verdict

CERTAIN = 2.0
"""Standard deviations of a change of the focal length below which it is taken for chance."""
PROBABLE = 1.0
"""The same of a way of the principal point, which two similarities have to want."""
_PLAUSIBLE = torch.diag(torch.tensor([0.05, 0.02, 0.02], dtype=torch.float64).square())
"""Variance of what a camera that somebody has measured may be wrong by; what an image can tell no
better than that would be taken for a change as often as not."""
_FOCAL_LENGTH = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
_PRINCIPAL_POINT = 1.0 - _FOCAL_LENGTH
_AGAINST = (Verdict.REJECTED, ErrorCode.CAMERA_INCONSISTENT)


def check_intrinsics(evidence: Evidence) -> tuple[Check, Check]:
    """Reject if the X-ray certainly wants another focal length or principal point.

    A Gauss-Newton step from the pose is taken with pose and both of them free. The figures are the
    relative change of the focal length and the way of the principal point in focal lengths, less
    what may be chance, 0 at least; the largest of the views. Instruments and the cut ends of a CT
    seem to move the principal point, too, but not alike for all similarities: the one that was
    optimised and the one that was not have to agree.
    """
    focal, principal = [], []
    for number in range(len(evidence.finest.views)):
        images, columns = by_pose_and_imager(evidence.finest, evidence.pose, number)
        rendered = images, _beyond_poses(columns[..., : 6 + INTRINSICS])
        optimised = _wanted_change(evidence.finest, number, *rendered)
        other = _wanted_change(evidence.finest_held_out, number, *rendered)
        focal.append(Misfit(optimised.along(_FOCAL_LENGTH, CERTAIN), _focal_text(optimised)))
        camera = evidence.finest.views[number].camera
        text = _principal_point_text(optimised, other, camera)
        principal.append(Misfit(_agreed_way(optimised, other), text))
    trust, height = evidence.config.imager_trust, camera.height / camera.focal_length
    focal_limit = max(MAX_FOCAL_MISFIT, EXPECTED * trust.focal_length)
    point_limit = max(MAX_PRINCIPAL_POINT_MISFIT, EXPECTED * trust.principal_point * height)
    return (
        _check('focal_misfit', focal, focal_limit),
        _check('principal_point_misfit', principal, point_limit),
    )


def _check(name: str, misfits: list[Misfit], limit: float) -> Check:
    worst = largest_misfit(misfits)
    size = 0.0 if worst.size < 0 else worst.size
    return Check.at_most(name, size, limit, _AGAINST, worst.found)


def _focal_text(change: 'WantedChange') -> str:
    way = 'longer' if change.step[0] > 0 else 'shorter'
    deviation = math.sqrt(max(0.0, float(change.covariance[0, 0])))
    size = percent(float(change.step[0]), deviation)
    return f'The focal length is {size} {way} than the camera says'


def _principal_point_text(first: 'WantedChange', second: 'WantedChange', camera: Camera) -> str:
    x, y = ((first.step + second.step)[1:] / 2 * camera.focal_length).tolist()
    return (
        f'The central ray meets the image {abs(x):.0f} pixels further to the '
        f'{"right" if x > 0 else "left"} and {abs(y):.0f} further {"down" if y > 0 else "up"} than '
        'the camera says, or the image is turned or shifted as if it did'
    )


@dataclass(frozen=True)
class WantedChange:
    """By how much a view wants its intrinsics changed (`bent_rays.by_imager`).

    Attributes:
        step: the change.
        covariance: of it.
    """

    step: Float64[Tensor, '3']
    covariance: Float64[Tensor, '3 3']

    def along(self, direction: Float64[Tensor, '3'], deviations: float) -> float:
        """Return the size along a unit vector, either way, less some standard deviations."""
        variance = (direction @ self.covariance @ direction).clamp(min=0)
        return abs(float(direction @ self.step)) - deviations * float(variance.sqrt())


def _agreed_way(first: WantedChange, second: WantedChange) -> float:
    """Return the way of the principal point that both want, in the direction of their mean."""
    mean = (first.step + second.step) / 2 * _PRINCIPAL_POINT
    size = float(mean.norm())
    if size == 0 or not math.isfinite(size):
        return size
    direction = mean / size
    # One that wants the opposite does not agree.
    if float(direction @ first.step) < 0 or float(direction @ second.step) < 0:
        return 0.0
    return min(one.along(direction, PROBABLE) for one in (first, second))


def _wanted_change(
    level: Level, number: int, images: Float[Tensor, '1 H W'], jacobians: Float[Tensor, '1 H W 9']
) -> WantedChange:
    """Return what a view wants by the similarity of a level, pose and intrinsics free."""
    level.on_work(level)
    view = level.equations(number, images, jacobians, patches=True)
    step, covariance = gauss_newton_step(view)[-3:], cluster_robust([view])[-3:, -3:]
    known = _PLAUSIBLE @ torch.linalg.pinv(_PLAUSIBLE + covariance, hermitian=True)
    return WantedChange(known @ step, known @ covariance)


def _beyond_poses(jacobians: Float[Tensor, '1 H W 9']) -> Float[Tensor, '1 H W 9']:
    """Return the derivative with what a pose can do taken off the columns of the intrinsics.

    Focal length and depth do nearly the same to an image. The difference has to be taken pixel by
    pixel: it is smaller than the rounding of sums of products. The step of the intrinsics stays the
    same, that of the pose does not.
    """
    planes = jacobians[0].movedim(-1, 0).double()
    lines = planes.flatten(1)
    products = (lines[:6] @ lines.T).cpu()
    by_pose = torch.linalg.lstsq(products[:, :6], products[:, 6:], driver='gelsd').solution
    beyond = lines[6:] - by_pose.T.to(lines) @ lines[:6]
    rest = beyond.unflatten(1, planes.shape[1:]).movedim(0, -1)
    return torch.cat([jacobians[..., :6], rest[None].to(jacobians)], -1)
