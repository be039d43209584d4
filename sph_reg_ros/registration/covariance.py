"""How uncertain the pose is, judged by the residuals that are left."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.geometry.se3 import TWIST_LENGTH_MM
from sph_reg_ros.similarity import ResidualBlock
from sph_reg_ros.solvers import normal_equations

SAME_BEAM_DEG = 5.0
"""Beams that differ by less are not independent; views for depth lie tens of degrees apart."""


def pose_covariance(
    blocks: Sequence[ResidualBlock],
    information: Float64[Tensor, '6 6'] | None = None,
    repeats: Sequence[int] | None = None,
) -> Float64[Tensor, '6 6']:
    """Return the covariance [6, 6] of the twist (omega rad, v mm) at the optimum.

    Neighbouring residuals err together, so counting every pixel as a measurement would promise far
    too much. Residuals are therefore summed in clusters of neighbours and the spread of the
    cluster sums is taken (the cluster-robust "sandwich" estimator: Liang and Zeger, Biometrika
    73(1), 1986). It knows random errors and model errors that vary over the image; it cannot know
    one that is the same everywhere, such as a wrong focal length.

    Args:
        blocks: residuals at the optimum with the weights (robust ones included) that put it there.
        information: half the second derivative of the cost; J^T W J if None, which is right
            unless a robust kernel made the weights (Huber, Annals of Statistics 1(5), 1973).
        repeats: how many of the blocks err together with each, itself among them; 1 each if None.
    """
    A = normal_equations(blocks)[0] if information is None else information
    units = torch.tensor([1.0] * 3 + [TWIST_LENGTH_MM] * 3, dtype=torch.float64)
    return cluster_robust(blocks, A, repeats) * torch.outer(units, units)


def cluster_robust(
    blocks: Sequence[ResidualBlock],
    information: Float64[Tensor, 'p p'],
    repeats: Sequence[int] | None = None,
) -> Float64[Tensor, 'p p']:
    """Return the sandwich estimate in the units of the residuals' own Jacobian, p columns."""
    counts = [1] * len(blocks) if repeats is None else repeats
    # What n blocks have in common spreads n^2 times as far as one, not n times: n times each.
    spread = torch.stack(
        [n * _spread_of_cluster_sums(block) for n, block in zip(counts, blocks, strict=True)]
    ).sum(0)
    inverse = torch.linalg.pinv(information, hermitian=True)
    covariance = inverse @ spread @ inverse
    return (covariance + covariance.T) / 2


def views_alike(camera_from_first: Sequence[Float64[Tensor, '4 4']]) -> list[int]:
    """Return how many views look along nearly the same line as each, itself among them.

    They see the same errors of the CT and of its rendering, and the same depth of the anatomy: a
    second X-ray from there is hardly a second measurement.
    """
    axes = torch.stack([pose[2, :3] for pose in camera_from_first])
    # From the back as from the front: it is the same line integrals.
    alike = (axes @ axes.T).abs() >= math.cos(math.radians(SAME_BEAM_DEG))
    return [int(count) for count in alike.sum(1)]


def _spread_of_cluster_sums(block: ResidualBlock) -> Float64[Tensor, 'p p']:
    forces = block.residual if block.weight is None else block.weight * block.residual
    scores = (block.jacobian * forces[:, None]).double()
    columns = block.jacobian.shape[1]
    sums = torch.zeros(int(block.cluster.max()) + 1, columns, dtype=torch.float64)
    sums.index_add_(0, block.cluster, scores)
    return sums.T @ sums
