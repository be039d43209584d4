"""Would the X-ray look more like the CT through a bent grid of pixels?

Pixels that are wider than high, or a lens or an image intensifier that distorts, bend the image as
no pose can. The pose has made good what it could of that, and is wrong by so much.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.errors import ErrorCode
from sph_reg_ros.registration.calibration import ImagerTrust
from sph_reg_ros.registration.covariance import cluster_robust
from sph_reg_ros.registration.error_parts import ErrorParts
from sph_reg_ros.registration.gate.bent_rays import GRID, INTRINSICS, by_pose_and_imager
from sph_reg_ros.registration.gate.evidence import Evidence, least_squares_step
from sph_reg_ros.registration.gate_limits import MAX_ASPECT_MISFIT, MAX_DISTORTION_MISFIT
from sph_reg_ros.registration.result import Check, Verdict
from sph_reg_ros.similarity import NormalEquations

CERTAIN = 2.0
"""Standard deviations of a change below which it is taken for chance."""
EXPECTED = 2.0
"""Standard deviations of a calibration up to which a change is no surprise."""
_POSE = list(range(6))
_GRID = list(range(6 + INTRINSICS, 6 + INTRINSICS + GRID))
_AGAINST = (Verdict.REJECTED, ErrorCode.CAMERA_INCONSISTENT)


@dataclass(frozen=True)
class Misfit:
    """What an X-ray says of the pixels' grid.

    Attributes:
        size: of the change that it wants, beyond what may be chance.
        found: the change in words.
    """

    size: float
    found: str


@dataclass(frozen=True)
class GridFit:
    """What the X-rays say of the pixels' grid; the largest figures of the views.

    Attributes:
        aspect: by how much pixels are wider than high, or oblique.
        distortion: share of its distance from the centre by which a pixel is displaced, half an
            image's height away from it.
        pose_error: how far the pose may be wrong for either, and for what else of the imager is not
            known exactly, mean over the targets.
    """

    aspect: Misfit
    distortion: Misfit
    pose_error: ErrorParts


def check_pixel_grid(fit: GridFit, trust: ImagerTrust) -> tuple[Check, Check]:
    """Reject if the X-ray certainly wants other pixels, or less distortion, than can be expected.

    Expected are two of the standard deviations that the camera is trusted by.
    """
    aspect = max(MAX_ASPECT_MISFIT, EXPECTED * max(trust.aspect, trust.skew))
    distortion = max(MAX_DISTORTION_MISFIT, EXPECTED * trust.distortion)
    return (
        Check.at_most('aspect_misfit', fit.aspect.size, aspect, _AGAINST, fit.aspect.found),
        Check.at_most(
            'distortion_misfit', fit.distortion.size, distortion, _AGAINST, fit.distortion.found
        ),
    )


def fit_pixel_grid(evidence: Evidence) -> GridFit:
    """Take a Gauss-Newton step of each view with pose and grid free; the focal length is kept.

    Half of the finest level's resolution tells bends of the whole image as well. Focal length and
    depth do nearly the same to an image, and no view could tell them apart. But if pixels are not
    as wide as the camera says, the focal length is known no better than that.
    """
    views = [_equations(evidence, number) for number in range(len(evidence.finest.views))]
    of_pose = torch.stack([view.hessian[0][:6, :6] for view in views]).sum(0)
    aspects, distortions, pulls = [], [], []
    for number, view in enumerate(views):
        aspect, distortion = _wanted_changes(view)
        aspects.append(Misfit(aspect.beyond_chance, _aspect_text(aspect)))
        distortions.append(Misfit(distortion.beyond_chance, _distortion_text(distortion)))
        changes = _possible_changes(evidence, number, aspect.likely, distortion.likely)
        pulls.append(changes @ view.hessian[0][:6, 6:].T)
    moved = [_moved_together(evidence, of_pose, pull) for pull in zip(*pulls, strict=True)]
    pose_error = ErrorParts.together(moved)
    return GridFit(largest_misfit(aspects), largest_misfit(distortions), pose_error)


def largest_misfit(misfits: Sequence[Misfit]) -> Misfit:
    """Return the largest of the views; one that is no number does not hide behind another."""
    return max(misfits, key=lambda misfit: misfit.size if misfit.size < math.inf else math.inf)


def _possible_changes(
    evidence: Evidence, number: int, aspect: Float64[Tensor, '2'], distortion: Float64[Tensor, '2']
) -> Float64[Tensor, 'k p']:
    """Return independent errors of a view's imager, changes of INTRINSICS and GRID.

    The first is what the X-ray says; the others are what the camera is trusted by, as far as the
    X-ray does not know better.
    """
    trust = evidence.config.imager_trust
    height = 2 * _half_height(evidence, number)
    shape = _known(trust.aspect, MAX_ASPECT_MISFIT), _known(trust.skew, MAX_ASPECT_MISFIT)
    bend = _known(trust.distortion, MAX_DISTORTION_MISFIT)
    focal_length = math.hypot(float(aspect[0]) / 2, trust.focal_length)
    point = trust.principal_point * height
    seen = torch.cat([torch.zeros(INTRINSICS).double(), aspect, distortion])
    trusted = torch.tensor([focal_length, point, point, *shape, bend, bend]).double()
    return torch.cat([seen[None], trusted.diag()])


def _known(deviation: float, limit: float) -> float:
    """Return a standard deviation that is left by an X-ray that tells a change from a limit on."""
    seen = limit / EXPECTED
    return deviation * seen / math.hypot(deviation, seen)


def _aspect_text(change: '_WantedChange') -> str:
    (ratio, skew), (ratio_sd, skew_sd) = change.step.tolist(), change.deviations.tolist()
    if abs(ratio) >= abs(skew):
        way = 'narrower' if ratio > 0 else 'wider'
        return f'Pixels are {percent(ratio, ratio_sd)} {way} than the camera says'
    return f'Pixels are oblique by {percent(skew, skew_sd)}'


def _distortion_text(change: '_WantedChange') -> str:
    (radial, spiral), (radial_sd, spiral_sd) = change.step.tolist(), change.deviations.tolist()
    where = 'of the distance from the centre, half an image height away from it'
    if abs(radial) >= abs(spiral):
        way = 'outwards' if radial > 0 else 'inwards'
        return f'Pixels are displaced {way} by {percent(radial, radial_sd)} {where}'
    return f'Pixels are displaced around the centre by {percent(spiral, spiral_sd)} {where}'


def percent(value: float, deviation: float) -> str:
    """Return the size of a share and its standard deviation."""
    return f'{100 * abs(value):.1f} ± {100 * deviation:.1f} %'


@dataclass(frozen=True)
class _WantedChange:
    """By how much a view wants its grid changed in one way.

    Attributes:
        step: the change.
        deviations: standard deviations of both.
        chance: size of what may be chance in it.
    """

    step: Float64[Tensor, '2']
    deviations: Float64[Tensor, '2']
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
        deviations = covariance[of, of].diagonal().clamp(min=0).sqrt()
        return _WantedChange(part, deviations, CERTAIN * math.sqrt(max(variance, 0.0)))

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


def _moved_together(
    evidence: Evidence, of_pose: Float64[Tensor, '6 6'], pulls: Sequence[Float64[Tensor, '6']]
) -> ErrorParts:
    """Return how far the same error of each view's imager moves the pose.

    It may be one imager, whose error all views share, or several.
    """

    def moved(pull: Float64[Tensor, '6']) -> ErrorParts:
        step = least_squares_step(of_pose, pull)
        return evidence.errors.to(evidence.finest.move(evidence.pose[None], step[None])[0])

    apart = ErrorParts.combined(lambda sizes: math.hypot(*sizes), map(moved, pulls))
    return ErrorParts.combined(max, [apart, moved(torch.stack(tuple(pulls)).sum(0))])
