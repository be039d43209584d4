"""Image similarities by name, prepared for one X-ray so that a pose costs as little as possible."""

from collections.abc import Callable
from typing import Protocol

import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor

from sph_reg_ros.errors import ConfigError, ErrorCode
from sph_reg_ros.similarity.combined import CombinedSimilarity
from sph_reg_ros.similarity.features import GradientFeatures, PixelFeatures, first_usable
from sph_reg_ros.similarity.intensity_map import IntensityMap, map_basis
from sph_reg_ros.similarity.intensity_mapped_ncc import ProjectedSimilarity
from sph_reg_ros.similarity.local import LocalSimilarity
from sph_reg_ros.similarity.normal_equations import NormalEquations
from sph_reg_ros.similarity.residual import ResidualBlock
from sph_reg_ros.similarity.robust import Robust

Image = Float32[Tensor, 'H W']
Mask = Bool[Tensor, 'H W']


class ImageSimilarity(Protocol):
    """How well renderings agree with one X-ray.

    Everything that depends on the X-ray alone was computed when this object was made. Its methods
    raise SolverError NO_OVERLAP where the rendering is constant within the mask.
    """

    def residuals(
        self, rendering: Float[Tensor, 'H W'], jacobian: Float[Tensor, 'H W 6']
    ) -> ResidualBlock:
        """Return r with |r|^2 = 2 (1 - score), and its exact derivative by the pose."""

    def normal_equations(
        self,
        renderings: Float[Tensor, 'B H W'],
        jacobians: Float[Tensor, 'B H W n'],
        robust: Robust | None = None,
        patches: bool = False,
    ) -> NormalEquations:
        """Return cost 2 (1 - score), its half gradient and Gauss-Newton matrix for each rendering.

        Rows whose rendering is constant within the mask are not valid; nothing is raised.

        Args:
            renderings: line integrals.
            jacobians: their derivatives by any n unknowns.
            robust: robust kernel of the residuals; none if None.
            patches: whether gradients of patches are wanted, as the covariance needs them.
        """

    def score(self, renderings: Float[Tensor, 'B H W']) -> Float[Tensor, 'B']:
        """Return the similarity of each rendering, 1 for a perfect one; -1 if it is constant."""

    def reweighted(self, rendering: Float[Tensor, 'H W']) -> 'ImageSimilarity':
        """Return the similarity with low weights where the X-ray shows what the CT lacks.

        Judged at a pose that is nearly right: the solver's result of a level, after which the
        level is solved once more, or the start of the next. Weights are new, not piled up.
        """


def prepare_similarity(name: str, xray: Image, mask: Mask | None = None) -> ImageSimilarity:
    """Prepare the comparison of renderings with an X-ray.

    Args:
        name: one of IMAGE_SIMILARITIES.
        xray: line integrals; their gain and offset do not matter.
        mask: pixels that count; all if None.

    Raises:
        ConfigError: the name is unknown.
        SolverError: NO_OVERLAP if the X-ray is constant within the mask.
    """
    if name not in IMAGE_SIMILARITIES:
        raise ConfigError(
            ErrorCode.CONFIG_INVALID,
            f'similarity {name!r} is none of {", ".join(IMAGE_SIMILARITIES)}',
        )
    usable = torch.ones(xray.shape, dtype=torch.bool) if mask is None else mask
    # An offset does not count; taken off, a constant image is exactly zero.
    anchor = xray.flatten()[first_usable(usable)]
    # Values behind the mask may be anything; zeros keep them out of every filter.
    return IMAGE_SIMILARITIES[name](torch.where(usable, xray - anchor, 0.0), usable)


def _ncc(xray: Image, mask: Mask) -> ImageSimilarity:
    features = PixelFeatures(mask)
    return ProjectedSimilarity.plain(features, features.of_image(xray))


def _gradient_ncc(xray: Image, mask: Mask) -> ImageSimilarity:
    features = GradientFeatures(mask)
    return ProjectedSimilarity.plain(features, features.of_image(xray))


def _mapped_ncc(xray: Image, mask: Mask) -> ImageSimilarity:
    features = PixelFeatures(mask)
    return ProjectedSimilarity.mapped(features, map_basis(xray, mask, IntensityMap()))


def _mapped_gradient_ncc(xray: Image, mask: Mask) -> ImageSimilarity:
    features = GradientFeatures(mask)
    return ProjectedSimilarity.mapped(features, map_basis(xray, mask, IntensityMap()))


def _mapped_ncc_and_gradients(xray: Image, mask: Mask) -> ImageSimilarity:
    return CombinedSimilarity((_mapped_ncc(xray, mask), _mapped_gradient_ncc(xray, mask)))


IMAGE_SIMILARITIES: dict[str, Callable[[Image, Mask], ImageSimilarity]] = {
    'ncc': _ncc,
    'local_ncc': LocalSimilarity,
    'gradient_ncc': _gradient_ncc,
    'mapped_ncc': _mapped_ncc,
    'mapped_gradient_ncc': _mapped_gradient_ncc,
    'mapped_ncc+gradient': _mapped_ncc_and_gradients,
}
"""What `prepare_similarity` knows."""
