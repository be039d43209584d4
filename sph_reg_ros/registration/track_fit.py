"""One frame fitted at a coarse level, and the figures that say how well."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.registration.covariance import pose_covariance
from sph_reg_ros.registration.error_parts import ErrorParts
from sph_reg_ros.registration.gate.evidence import gauss_newton_step
from sph_reg_ros.registration.gate.patches import PatchAgreement, patch_agreement
from sph_reg_ros.registration.gate.target_errors import TargetErrors
from sph_reg_ros.registration.gate.targets import target_points
from sph_reg_ros.registration.pyramid import build_level
from sph_reg_ros.registration.refine import COARSE_REDUCTION
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.solve import Solver, robust_of
from sph_reg_ros.rendering.render import resolve_backend
from sph_reg_ros.similarity import sum_of
from sph_reg_ros.solvers import TerminationReason


@dataclass(frozen=True)
class Fit:
    """Where the solver ended at a coarse level.

    Attributes:
        pose: camera_from_ct (mm).
        covariance: as in RegistrationResult.
        termination: why the solver stopped.
        iterations: its steps.
        similarity_before: at the start.
        similarity: at the pose.
        errors: what errors of the pose mean at the targets.
        sigma: standard deviation of the pose, rms over the targets.
        remaining: by how much one more Gauss-Newton step would move the targets.
        patches: how the image's parts agree.
        backend: the renderer.
    """

    pose: Float64[Tensor, '4 4']
    covariance: Float64[Tensor, '6 6']
    termination: TerminationReason
    iterations: int
    similarity_before: float
    similarity: float
    errors: TargetErrors
    sigma: ErrorParts
    remaining: ErrorParts
    patches: PatchAgreement
    backend: str

    @property
    def misfit(self) -> float:
        """Return what the similarity lacks to 1."""
        return 1 - self.similarity


def fit(
    request: RegistrationRequest,
    heights: Sequence[int],
    max_iterations: int,
) -> Fit:
    """Fit one view from the initial pose.

    Args:
        request: CT, X-ray, initial pose and settings.
        heights: rows of the images, coarse to fine.
        max_iterations: solver steps a level.

    Raises:
        SolverError: the CT is not in view, or the problem is degenerate.
    """
    backend = resolve_backend(request.config.backend, request.volume)
    solve = Solver(request.config)
    levels = [build_level(request, height, backend) for height in heights]
    poses = request.start[None]
    before = levels[0].score(poses[0])
    for level in levels:
        weighted = level.reweighted(poses[0])
        end = solve(weighted, poses, COARSE_REDUCTION, max_iterations)
        poses = end.poses
    (pose,), targets, centre = poses, target_points(level.volume), level.volume.centre
    views = weighted.of_views(poses, robust_of(request.config), patches=True, seen=True)
    covariance = pose_covariance(views)
    errors = TargetErrors.seen_by(level.views, pose, covariance, centre, targets)
    further = level.move(poses, gauss_newton_step(sum_of(views))[None])
    return Fit(
        pose=pose,
        covariance=covariance,
        termination=end.terminations[0],
        iterations=solve.steps,
        similarity_before=before,
        similarity=level.score(pose),
        errors=errors,
        sigma=errors.by(covariance),
        remaining=errors.to(further[0]),
        patches=patch_agreement(level, pose),
        backend=backend,
    )
