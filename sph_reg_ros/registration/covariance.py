"""How uncertain the pose is, judged by the residuals that are left."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.geometry.se3 import TWIST_LENGTH_MM
from sph_reg_ros.similarity import NormalEquations

SAME_BEAM_DEG = 5.0
"""Beams that differ by less are not independent; views for depth lie tens of degrees apart."""


def pose_covariance(
    views: Sequence[NormalEquations], repeats: Sequence[int] | None = None
) -> Float64[Tensor, '6 6']:
    """Return the covariance [6, 6] of the twist (omega rad, v mm) at the optimum.

    Neighbouring residuals err together, so counting every pixel as a measurement would promise far
    too much. Residuals are therefore summed in clusters of neighbours and the spread of the
    cluster sums is taken (the cluster-robust "sandwich" estimator: Liang and Zeger, Biometrika
    73(1), 1986). It knows random errors and model errors that vary over the image; it cannot know
    one that is the same everywhere, such as a wrong focal length. With a robust kernel the
    information is half the second derivative of the cost (Huber, Annals of Statistics 1(5), 1973).

    Args:
        views: of one pose, the optimum, with gradients of patches.
        repeats: how many of the views err together with each, itself among them; 1 each if None.
    """
    units = torch.tensor([1.0] * 3 + [TWIST_LENGTH_MM] * 3, dtype=torch.float64)
    return cluster_robust(views, repeats) * torch.outer(units, units)


def cluster_robust(
    views: Sequence[NormalEquations], repeats: Sequence[int] | None = None
) -> Float64[Tensor, 'n n']:
    """Return the sandwich estimate in the units of the n unknowns; arguments as above."""
    counts = [1] * len(views) if repeats is None else repeats
    # What k views have in common spreads k^2 times as far as one, not k times: k times each.
    spread = torch.stack(
        [k * _spread_of_patches(view) for k, view in zip(counts, views, strict=True)]
    ).sum(0)
    information = torch.stack([view.information[0] for view in views]).sum(0)
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


def _spread_of_patches(view: NormalEquations) -> Float64[Tensor, 'n n']:
    assert view.patch_gradients is not None
    sums = view.patch_gradients[0]
    return sums.T @ sums
