"""Which X-ray to take next, where those at hand leave the pose too uncertain.

The CT is rendered from all angulations that the imager can reach, as one batch of small images. How
an image changes with the pose tells how much an X-ray from there would say of it; how uncertain the
pose is by the X-rays at hand, against what their own renderings would say, tells how much less a
real one is worth.
"""

import itertools
import math
from collections.abc import Sequence

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.errors import ErrorCode
from sph_reg_ros.geometry import se3
from sph_reg_ros.geometry.carm import camera_from_ct_for_angles
from sph_reg_ros.geometry.se3 import TWIST_LENGTH_MM
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.error_parts import ErrorParts
from sph_reg_ros.registration.gate.bound import bound_of
from sph_reg_ros.registration.gate.evidence import COARSE_PX, Evidence
from sph_reg_ros.registration.gate.target_errors import TargetErrors
from sph_reg_ros.registration.gate_limits import ERROR_PER_SIGMA, FLOOR_MM
from sph_reg_ros.registration.level import Level
from sph_reg_ros.registration.result import Verdict, Verification
from sph_reg_ros.registration.suggested_view import SuggestedView
from sph_reg_ros.rendering.render import render_with_jacobian
from sph_reg_ros.similarity import prepare_similarity

STEP_DEG = 30.0
"""Between angulations that are tried; between two of them the bound hardly differs."""
ERROR_PER_VIEW_SIGMA = 1.4
"""Error that the least certain of several views leaves open, beside its own standard deviation."""


def is_too_uncertain(verification: Verification) -> bool:
    """Return whether nothing speaks against a pose but that it is too uncertain."""
    failed = [check for check in verification.checks if not check.passed]
    return bool(failed) and all(
        check.verdict == Verdict.UNVERIFIED and check.reason == ErrorCode.POSE_UNCERTAIN
        for check in failed
    )


def suggest_view(evidence: Evidence, verification: Verification) -> SuggestedView | None:
    """Return the angulation that would shrink the bound most; None if none would.

    Args:
        evidence: of the pose, by the X-rays at hand.
        verification: what came of it.
    """
    level, config = evidence.nearest(COARSE_PX), evidence.config
    if level.views[0].camera.scan_depth_mm:
        return None  # A line scan is taken by no C-arm.
    angles = _angulations(config)
    poses = torch.stack([_pose_at(evidence, *pair) for pair in angles])
    here = torch.stack([other @ evidence.pose for other in level.camera_from_first])
    said = _informations(level, torch.cat([here, poses]), evidence.pose, config.similarity)
    now = torch.linalg.pinv(evidence.covariance, hermitian=True)
    scale = _worth(evidence, torch.stack(said[: len(here)]).sum(0))
    best: SuggestedView | None = None
    for pair, pose, information in zip(angles, poses, said[len(here) :], strict=True):
        bound = _expected_bound(evidence, verification, now, scale * information)
        if best is None or bound.asked(config.verdict_for) < best.bound.asked(config.verdict_for):
            cosine = float((here[0, 2, :3] @ pose[2, :3]).clamp(-1, 1))
            best = SuggestedView(*pair, math.acos(cosine), bound)
    asked = config.verdict_for
    if best is None or best.bound.asked(asked) >= verification.bound.asked(asked):
        return None
    return best


def _angulations(config: RegistrationConfig) -> list[tuple[float, float]]:
    """Return angles (rad) on a grid within reach of the imager."""
    axes = map(_steps, (config.max_primary_deg, config.max_secondary_deg))
    return [(math.radians(a), math.radians(b)) for a, b in itertools.product(*axes)]


def _steps(largest_deg: float) -> list[float]:
    """Return multiples of the step up to an angle, either way, and that angle."""
    steps = [STEP_DEG * n for n in range(math.floor(largest_deg / STEP_DEG) + 1)]
    return sorted({sign * deg for sign in (-1, 1) for deg in (*steps, largest_deg)})


def _pose_at(
    evidence: Evidence, primary_rad: float, secondary_rad: float
) -> Float64[Tensor, '4 4']:
    """Return camera_from_ct of an angulation: the targets in the middle, as far as they are now."""
    middle = evidence.targets.mean(0)
    distance_mm = float(se3.transform_points(evidence.pose, middle[None]).norm())
    return camera_from_ct_for_angles(primary_rad, secondary_rad, distance_mm, middle)


def _informations(
    level: Level,
    poses: Float64[Tensor, 'n 4 4'],
    first_from_ct: Float64[Tensor, '4 4'],
    similarity: str,
) -> list[Float64[Tensor, '6 6']]:
    """Return what X-rays that are like renderings would say of a twist in first-camera axes.

    In the units of a similarity; rotation in rad, shift in mm.
    """
    found = []
    camera = level.views[0].camera
    units = torch.tensor([1.0] * 3 + [TWIST_LENGTH_MM] * 3, dtype=torch.float64)
    level.on_work(level)
    images, jacobians = render_with_jacobian(
        level.volume, poses, camera.K, camera.size, backend=level.backend
    )
    for pose, image, jacobian in zip(poses, images, jacobians, strict=True):
        level.on_work(level)
        same = prepare_similarity(similarity, image.float().cpu(), None)
        equations = same.normal_equations(image[None].cpu(), jacobian[None].cpu())
        R = (pose @ se3.inverse(first_from_ct))[:3, :3]
        hessian = equations.of_unknowns(torch.block_diag(R, R)).hessian[0]
        found.append(hessian / torch.outer(units, units))
    return found


def _worth(evidence: Evidence, of_rendering: Float64[Tensor, '6 6']) -> float:
    """Return by how much a similarity's information has to be scaled to be that of real X-rays."""
    errors = evidence.errors
    by_rendering = errors.by(torch.linalg.pinv(of_rendering, hermitian=True)).total_mm
    return (by_rendering / max(errors.by(evidence.covariance).total_mm, 1e-9)) ** 2


def _expected_bound(
    evidence: Evidence,
    verification: Verification,
    now: Float64[Tensor, '6 6'],
    more: Float64[Tensor, '6 6'],
) -> ErrorParts:
    """Return the bound with one more X-ray, by the same rules as that of those at hand."""
    joint = torch.linalg.pinv(now + more, hermitian=True)
    errors = TargetErrors.seen_by(
        [evidence.finest.views[0]] * 2,
        evidence.pose,
        joint,
        evidence.finest.volume.centre,
        evidence.targets,
    )
    before, after = errors.by(evidence.covariance), errors.by(joint)
    alone = errors.by(torch.linalg.pinv(more, hermitian=True))
    parts = []
    imager = _by_principal_point(evidence)
    for estimate, one, both, other, unknown in zip(
        *map(_parts, (verification.estimate, before, after, alone, imager)), strict=True
    ):
        # What similarities and focal length leave open shrinks as the rest does.
        others = math.sqrt(max(0.0, estimate**2 - (ERROR_PER_SIGMA * one) ** 2))
        left = others * both / max(one, 1e-9)
        views = ERROR_PER_VIEW_SIGMA * max(one, other)
        parts.append(math.hypot(ERROR_PER_SIGMA * both, left, views, unknown, FLOOR_MM))
    # The direction between both parts is another one than that of the X-rays at hand.
    total, across, along = parts
    return bound_of(ErrorParts(total, min(across, total), min(along, total)))


def _by_principal_point(evidence: Evidence) -> ErrorParts:
    """Return what a principal point that is not known exactly leaves open for two views.

    It shifts what each of them shows: together in all three directions of space.
    """
    camera = evidence.finest.views[0].camera
    depth_mm = float(se3.transform_points(evidence.pose, evidence.targets)[:, 2].mean())
    share = evidence.config.imager_trust.principal_point * camera.height / camera.focal_length
    shift_mm = share * depth_mm
    return ErrorParts(math.sqrt(3) * shift_mm, math.sqrt(2) * shift_mm, shift_mm)


def _parts(error: ErrorParts) -> Sequence[float]:
    return error.total_mm, error.across_mm, error.along_mm
