"""Image similarities by name, prepared for one X-ray so that a pose costs as little as possible."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float32
from torch import Tensor

from sph_reg_ros.errors import ConfigError, ErrorCode
from sph_reg_ros.similarity.features import (
    Features,
    GradientFeatures,
    PixelFeatures,
    first_usable,
)
from sph_reg_ros.similarity.intensity_map import IntensityMap, map_basis
from sph_reg_ros.similarity.intensity_mapped_ncc import ProjectedFeatures
from sph_reg_ros.similarity.local import LocalSimilarity
from sph_reg_ros.similarity.ncc import CorrelationSimilarity
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
    usable = torch.ones_like(xray, dtype=torch.bool) if mask is None else mask
    # An offset does not count; taken off, a constant image is exactly zero.
    anchor = xray.flatten()[first_usable(usable)]
    # Values behind the mask may be anything; zeros keep them out of every filter.
    return IMAGE_SIMILARITIES[name](torch.where(usable, xray - anchor, 0.0), usable)


def _ncc(xray: Image, mask: Mask) -> ImageSimilarity:
    return CorrelationSimilarity(_plain(PixelFeatures(mask.cpu()), xray.cpu()))


def _gradient_ncc(xray: Image, mask: Mask) -> ImageSimilarity:
    return CorrelationSimilarity(_plain(GradientFeatures(mask.cpu()), xray.cpu()))


def _mapped_ncc(xray: Image, mask: Mask) -> ImageSimilarity:
    return CorrelationSimilarity(*_mapped(xray, mask, PixelFeatures))


def _mapped_gradient_ncc(xray: Image, mask: Mask) -> ImageSimilarity:
    return CorrelationSimilarity(*_mapped(xray, mask, GradientFeatures))


def _mapped_ncc_and_gradients(xray: Image, mask: Mask) -> ImageSimilarity:
    return CorrelationSimilarity(*_mapped(xray, mask, PixelFeatures, GradientFeatures))


def _plain(features: Features, xray: Image) -> ProjectedFeatures:
    return ProjectedFeatures.plain(features, features.of_image(xray))


def _mapped(
    xray: Image, mask: Mask, *kinds: Callable[[Mask], Features]
) -> tuple[ProjectedFeatures, ...]:
    xray, mask = xray.cpu(), mask.cpu()
    basis = map_basis(xray, mask, IntensityMap())
    return tuple(ProjectedFeatures.mapped(kind(mask), basis) for kind in kinds)


IMAGE_SIMILARITIES: dict[str, Callable[[Image, Mask], ImageSimilarity]] = {
    'ncc': _ncc,
    'local_ncc': LocalSimilarity,
    'gradient_ncc': _gradient_ncc,
    'mapped_ncc': _mapped_ncc,
    'mapped_gradient_ncc': _mapped_gradient_ncc,
    'mapped_ncc+gradient': _mapped_ncc_and_gradients,
}
"""What `prepare_similarity` knows."""
