"""Several similarities of the same image as one."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from sph_reg_ros.similarity.normal_equations import NormalEquations, of_residuals
from sph_reg_ros.similarity.patches import PATCHES
from sph_reg_ros.similarity.protocol import ImageSimilarity
from sph_reg_ros.similarity.residual import ResidualBlock
from sph_reg_ros.similarity.robust import Robust


class CombinedSimilarity:
    """The weighted mean of similarities: their residuals, stacked."""

    def __init__(
        self, parts: Sequence[ImageSimilarity], weights: Sequence[float] | None = None
    ) -> None:
        """Take parts of one X-ray; equal weights if none are given."""
        given = [1.0] * len(parts) if weights is None else list(weights)
        self._parts = tuple(parts)
        self._weights = tuple(weight / sum(given) for weight in given)

    def residuals(
        self, rendering: Float[Tensor, 'H W'], jacobian: Float[Tensor, 'H W 6']
    ) -> ResidualBlock:
        """Return all residuals; |r|^2 = 2 (1 - score)."""
        blocks = [part.residuals(rendering, jacobian) for part in self._parts]
        roots = [weight**0.5 for weight in self._weights]
        return ResidualBlock(
            torch.cat([root * block.residual for root, block in zip(roots, blocks, strict=True)]),
            torch.cat([root * block.jacobian for root, block in zip(roots, blocks, strict=True)]),
            torch.cat([block.cluster for block in blocks]),
        )

    def normal_equations(
        self,
        renderings: Float[Tensor, 'B H W'],
        jacobians: Float[Tensor, 'B H W n'],
        robust: Robust | None = None,
        patches: bool = False,
    ) -> NormalEquations:
        """Return cost, gradient and Gauss-Newton matrix of each rendering (`ImageSimilarity`)."""
        count = PATCHES**2 if patches else 0
        return of_residuals(self.residuals, renderings, jacobians, robust, count)

    def score(self, renderings: Float[Tensor, 'B H W']) -> Float[Tensor, 'B']:
        """Return the mean of the parts' scores."""
        scores = torch.stack([part.score(renderings) for part in self._parts])
        return (torch.tensor(self._weights, dtype=scores.dtype)[:, None] * scores).sum(0)

    def reweighted(self, rendering: Float[Tensor, 'H W']) -> 'CombinedSimilarity':
        """Return the combination of the reweighted parts."""
        return CombinedSimilarity(
            [part.reweighted(rendering) for part in self._parts], self._weights
        )
