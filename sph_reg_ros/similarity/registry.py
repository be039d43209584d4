"""Image similarities by name, prepared for one X-ray so that a pose costs as little as possible."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float32
from torch import Tensor

from sph_reg_ros.errors import ConfigError, ErrorCode
from sph_reg_ros.similarity.combined import CombinedSimilarity
from sph_reg_ros.similarity.features import GradientFeatures, PixelFeatures, first_usable
from sph_reg_ros.similarity.intensity_map import IntensityMap, map_basis
from sph_reg_ros.similarity.intensity_mapped_ncc import ProjectedSimilarity
from sph_reg_ros.similarity.local import LocalSimilarity
from sph_reg_ros.similarity.protocol import ImageSimilarity

Image = Float32[Tensor, 'H W']
Mask = Bool[Tensor, 'H W']


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
