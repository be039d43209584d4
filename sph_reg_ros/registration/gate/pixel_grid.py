"""Would the X-ray look more like the CT through a bent grid of pixels?

Pixels that are wider than high, or a lens or an image intensifier that distorts, bend the image as
no pose can. The pose has made good what it could of that, and is wrong by so much.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.errors import ErrorCode
from sph_reg_ros.geometry.box import mean_distance_mm
from sph_reg_ros.registration.covariance import cluster_robust
from sph_reg_ros.registration.gate.bent_rays import GRID, INTRINSICS, by_pose_and_imager
from sph_reg_ros.registration.gate.evidence import Evidence, least_squares_step
from sph_reg_ros.registration.gate_limits import MAX_ASPECT_MISFIT, MAX_DISTORTION_MISFIT
from sph_reg_ros.registration.result import Check, Verdict
from sph_reg_ros.similarity import NormalEquations

CERTAIN = 2.0
"""Standard deviations of a change below which it is taken for chance."""
_POSE = list(range(6))
_FOCAL_LENGTH, _PRINCIPAL_POINT = [6], [7, 8]
_GRID = list(range(6 + INTRINSICS, 6 + INTRINSICS + GRID))
_AGAINST = (Verdict.REJECTED, ErrorCode.CAMERA_INCONSISTENT)


@dataclass(frozen=True)
class GridFit:
    """What the X-rays say of the pixels' grid; the largest figures of the views.

    Attributes:
        aspect: by how much pixels are wider than high, or oblique, beyond what may be chance.
        distortion: share of its distance from the centre by which a pixel is displaced, half an
            image's height away from it, beyond what may be chance.
        pose_error_mm: how far the pose may be wrong for either, and for what the settings say of
            focal length and principal point, mean over the targets.
    """

    aspect: float
    distortion: float
    pose_error_mm: float


def check_pixel_grid(fit: GridFit) -> tuple[Check, Check]:
    """Reject if the X-ray certainly wants other pixels, or less distortion."""
    return (
        Check.at_most('aspect_misfit', fit.aspect, MAX_ASPECT_MISFIT, _AGAINST),
        Check.at_most('distortion_misfit', fit.distortion, MAX_DISTORTION_MISFIT, _AGAINST),
    )


def fit_pixel_grid(evidence: Evidence) -> GridFit:
    """Take a Gauss-Newton step of each view with pose and grid free; the focal length is kept.

    Half of the finest level's resolution tells bends of the whole image as well. Focal length and
    depth do nearly the same to an image, and no view could tell them apart. But if pixels are not
    as wide as the camera says, the focal length is known no better than that.
    """
    views = [_equations(evidence, number) for number in range(len(evidence.finest.views))]
    of_pose = torch.stack([view.hessian[0][:6, :6] for view in views]).sum(0)
    aspects, distortions, moved = [], [], []
    for number, view in enumerate(views):
        changes = _wanted_changes(view)
        aspects.append(changes[0].beyond_chance)
        distortions.append(changes[1].beyond_chance)
        likely = torch.cat([change.likely for change in changes])
        focal_length = math.hypot(float(likely[0]) / 2, evidence.config.focal_length_sd)
        principal_point = evidence.config.principal_point_sd * 2 * _half_height(evidence, number)
        for columns, parameters in (
            (_GRID, likely.tolist()),
            (_FOCAL_LENGTH, [focal_length]),
            (_PRINCIPAL_POINT[:1], [principal_point]),
            (_PRINCIPAL_POINT[1:], [principal_point]),
        ):
            pull = view.hessian[0][:6, columns] @ torch.tensor(parameters).double()
            moved.append(_moved_mm(evidence, least_squares_step(of_pose, pull)))
    return GridFit(max(aspects), max(distortions), math.hypot(*moved))


@dataclass(frozen=True)
class _WantedChange:
    """By how much a view wants its grid changed in one way.

    Attributes:
        step: the change.
        chance: size of what may be chance in it.
    """

    step: Float64[Tensor, '2']
    chance: float

    @property
    def beyond_chance(self) -> float:
        """Return the size that is certain, 0 at least."""
        size = float(self.step.norm())
        return max(0.0, size - self.chance) if math.isfinite(size) else size

    @property
    def likely(self) -> Float64[Tensor, '2']:
        """Return the change less what chance adds to its square."""
        square = float(self.step.square().sum())
        if not square:
            return self.step
        return self.step * math.sqrt(max(0.0, 1 - self.chance**2 / square))


def _wanted_changes(view: NormalEquations) -> tuple[_WantedChange, _WantedChange]:
    """Return what a view wants of the shape of its pixels, and of its distortion."""
    free = view.of_unknowns(torch.eye(len(view.gradient[0])).double()[:, _POSE + _GRID])
    step = least_squares_step(free.hessian[0], free.gradient[0])
    covariance = cluster_robust([free])

    def change(of: slice) -> _WantedChange:
        part = step[of]
        direction = part / part.norm().clamp(min=1e-30)
        variance = float(direction @ covariance[of, of] @ direction)
        return _WantedChange(part, CERTAIN * math.sqrt(max(variance, 0.0)))

    return change(slice(6, 8)), change(slice(8, 10))


def _equations(evidence: Evidence, number: int) -> NormalEquations:
    """Return a view's equations; pose (axes of the first camera), intrinsics and grid unknown."""
    level = evidence.middle_optimised
    images, jacobians = by_pose_and_imager(level, evidence.pose, number)
    level.on_work(level)
    view = level.equations(number, images, jacobians, patches=True)
    R = level.camera_from_first[number][:3, :3]
    return view.of_unknowns(torch.block_diag(R, R, torch.eye(INTRINSICS + GRID).to(R)))


def _half_height(evidence: Evidence, number: int) -> float:
    """Return half the height of a view's image, in focal lengths."""
    camera = evidence.finest.views[number].camera
    return camera.height / 2 / camera.focal_length


def _moved_mm(evidence: Evidence, step: Float64[Tensor, '6']) -> float:
    """Return the mean distance of the targets before and after a step of the pose."""
    moved = evidence.finest.move(evidence.pose[None], step[None])[0]
    return float(mean_distance_mm(moved, evidence.pose, evidence.targets))
