"""The start that networks give: a regressed pose, refined by the learned similarity.

arXiv 2509.06890: a pose regressor, then Levenberg-Marquardt on spherical embeddings.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.geometry import se3
from sph_reg_ros.registration.level import Level
from sph_reg_ros.registration.networks import Networks
from sph_reg_ros.registration.pyramid import coarsened
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.solve import ROUGH_REDUCTION, Report, Solver
from sph_reg_ros.registration.view import cameras_from_first, seen_by
from sph_reg_ros.similarity.spherical import SphericalSimilarity

MAX_ITERATIONS = 12
"""Steps of the learned similarity: it has to come near, images do the rest."""


def regressed(request: RegistrationRequest, networks: Networks) -> Float64[Tensor, 'n 4 4']:
    """Return what each view by itself says of the first camera's pose, without initial guess."""
    others = zip(request.views, cameras_from_first(request.views), strict=True)
    return torch.stack([se3.inverse(other) @ networks.regress(view) for view, other in others])


def spherical_level(
    request: RegistrationRequest,
    networks: Networks,
    backend: str,
    on_work: Callable[[Level], None] = lambda level: None,
) -> Level:
    """Return X-rays and CT as the learned similarity compares them; `on_work` as in Level."""
    camera = networks.encoder_camera
    views = tuple(seen_by(view, camera) for view in request.views)
    similarities = tuple(
        SphericalSimilarity.prepare(
            networks.encoder, view.line_integrals, view.mask, pose_slopes=networks.pose_slopes
        )
        for view in views
    )
    poses = cameras_from_first(request.views)
    volume = coarsened(request, camera)
    return Level(volume, views, similarities, poses, backend, request.prior, on_work)


def refined_by_networks(
    level: Level,
    starts: Float64[Tensor, 'n 4 4'],
    request: RegistrationRequest,
    report: Report,
) -> Float64[Tensor, '1 4 4']:
    """Return where the solver leads to by the learned similarity from the most similar start.

    Raises:
        SolverError: the CT is in view from no start.
    """
    best = starts[level.scores(starts).argmax()][None] if len(starts) > 1 else starts
    solve = Solver(request.config, report)
    return solve(level, best, ROUGH_REDUCTION, MAX_ITERATIONS).poses
