"""One frame fitted at a coarse level, and the figures that say how well."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.geometry.box import mean_distance_mm
from sph_reg_ros.registration.covariance import pose_covariance
from sph_reg_ros.registration.gate.patches import PatchAgreement, patch_agreement
from sph_reg_ros.registration.gate.targets import expected_error_mm, target_points
from sph_reg_ros.registration.level import Level
from sph_reg_ros.registration.pyramid import build_level
from sph_reg_ros.registration.refine import COARSE_PROMISE
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.solve import Solver
from sph_reg_ros.rendering.render import resolve_backend
from sph_reg_ros.solvers import LMResult, TerminationReason, normal_equations


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
        sigma_mm: standard deviation of the pose, rms over the targets, all axes together.
        remaining_mm: by how much one more Gauss-Newton step would move the targets.
        patches: how the image's parts agree.
        backend: the renderer.
    """

    pose: Float64[Tensor, '4 4']
    covariance: Float64[Tensor, '6 6']
    termination: TerminationReason
    iterations: int
    similarity_before: float
    similarity: float
    sigma_mm: float
    remaining_mm: float
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
    solve = Solver(request.config, lambda *_: None)
    levels = [build_level(request, height, backend) for height in heights]
    pose = request.start
    before = levels[0].score(pose)
    for level in levels:
        weighted = level.reweighted(pose)
        result = solve(weighted, pose, COARSE_PROMISE, max_iterations)
        pose = result.pose
    return _figures(levels[-1], result, before, solve.steps)


def _figures(level: Level, result: LMResult, before: float, steps: int) -> Fit:
    targets, centre = target_points(level.volume), level.volume.centre
    covariance = pose_covariance(result.blocks, result.information)
    sigma = expected_error_mm(covariance, result.pose, centre, targets)
    A, g = normal_equations(result.blocks)
    step = -torch.linalg.lstsq(A, g[:, None], driver='gelsd').solution[:, 0]
    remaining = mean_distance_mm(level.move(result.pose, step), result.pose, targets)
    return Fit(
        pose=result.pose,
        covariance=covariance,
        termination=result.termination,
        iterations=steps,
        similarity_before=before,
        similarity=level.score(result.pose),
        sigma_mm=float(sigma.norm()),
        remaining_mm=float(remaining),
        patches=patch_agreement(level, result.pose),
        backend=level.backend,
    )
