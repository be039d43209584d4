"""Normalised cross-correlation of renderings with an X-ray, by one or several kinds of features."""

from dataclasses import replace
from functools import cached_property

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from sph_reg_ros.similarity.correlation import CorrelationEquations, mean_correlation
from sph_reg_ros.similarity.gram import Columns, FixedImages, grams, sums_of_patches
from sph_reg_ros.similarity.intensity_mapped_ncc import ProjectedFeatures
from sph_reg_ros.similarity.normal_equations import NormalEquations, of_residuals
from sph_reg_ros.similarity.patches import PATCHES
from sph_reg_ros.similarity.residual import ResidualBlock
from sph_reg_ros.similarity.robust import Robust, is_robust


class CorrelationSimilarity:
    """The mean correlation of several kinds of features of the same image."""

    def __init__(self, *kinds: ProjectedFeatures) -> None:
        """Take the kinds; all signed or none."""
        self._kinds, self._signed = kinds, kinds[0].signed
        self._ignored = max(kind.ignored for kind in kinds)
        self._predicting = max(kind.predicting for kind in kinds)

    def on(self, device: torch.device) -> 'CorrelationSimilarity':
        """Return the similarity for renderings on a device: it takes them wherever they are."""
        return self

    def residuals(
        self, rendering: Float[Tensor, 'H W'], jacobian: Float[Tensor, 'H W n']
    ) -> ResidualBlock:
        """Return r with |r|^2 = 2 (1 - score), and its exact derivative.

        Raises:
            SolverError: NO_OVERLAP if the rendering is constant within the mask.
        """
        blocks = [kind.residuals(rendering.cpu(), jacobian.cpu()) for kind in self._kinds]
        root = len(blocks) ** -0.5
        return ResidualBlock(
            torch.cat([root * block.residual for block in blocks]),
            torch.cat([root * block.jacobian for block in blocks]),
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
        if is_robust(robust):
            count = PATCHES**2 if patches else 0
            return of_residuals(self.residuals, renderings, jacobians, robust, count)
        columns = self._columns_of(renderings, jacobians.movedim(-1, 1))
        products = self._products(columns)
        found = mean_correlation(products, self._ignored, signed=self._signed)
        if patches:
            found = replace(found, patch_gradients=self._by_patch(products, columns))
        return found

    def score(self, renderings: Float[Tensor, 'B H W']) -> Float[Tensor, 'B']:
        """Return the mean correlation of each rendering; -1 if it is constant."""
        products = self._products(self._columns_of(renderings, renderings[:, None][:, :0]))
        found = mean_correlation(products, self._ignored, signed=self._signed)
        return torch.where(found.valid, 1 - found.cost / 2, -1.0).to(renderings.dtype)

    def reweighted(self, rendering: Float[Tensor, 'H W']) -> 'CorrelationSimilarity':
        """Return the similarity with low weights where the X-ray shows what the CT lacks."""
        return CorrelationSimilarity(*(kind.reweighted(rendering.cpu()) for kind in self._kinds))

    @cached_property
    def _fixed(self) -> tuple[FixedImages, ...]:
        return tuple(kind.fixed_images(self._ignored, self._predicting) for kind in self._kinds)

    def _fixed_on(self, device: torch.device) -> tuple[FixedImages, ...]:
        """Return the fixed images on the device of renderings; they are copied once."""
        if self._fixed[0].weight.device != device:
            self._fixed = tuple(fixed.to(device) for fixed in self._fixed)
        return self._fixed

    def _columns_of(
        self, renderings: Float[Tensor, 'B H W'], slopes: Float[Tensor, 'B n H W']
    ) -> tuple[Columns, ...]:
        fixed = self._fixed_on(renderings.device)
        return tuple(of_kind.columns(renderings, slopes) for of_kind in fixed)

    def _products(self, columns: tuple[Columns, ...]) -> Float64[Tensor, 'p B N M']:
        pairs = zip(columns, self._fixed, strict=True)
        return torch.stack([grams(of_kind, fixed) for of_kind, fixed in pairs])

    def _by_patch(
        self, products: Float64[Tensor, 'p B N M'], columns: tuple[Columns, ...]
    ) -> Float64[Tensor, 'B P n']:
        """Return the part of each patch in the gradient; 0 where a rendering shows nothing."""
        equations = CorrelationEquations(products, self._ignored, signed=self._signed)
        parts = zip(columns, self._fixed, equations.residual_factors, strict=True)
        sums = torch.stack([sums_of_patches(*part) for part in parts])
        found = equations.gradients_of_patches(sums).mean(0)
        return torch.where(equations.valid[:, None, None], found, 0.0)
