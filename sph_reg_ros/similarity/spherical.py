"""The learned similarity: how far X-ray and rendering lie apart in the space of an encoder."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sph_reg_ros.errors import ConfigError, ErrorCode
from sph_reg_ros.networks.encoder import SphericalEncoder
from sph_reg_ros.networks.normalise import is_constant, normalise
from sph_reg_ros.similarity.encoded import encoded_residual
from sph_reg_ros.similarity.patches import no_overlap
from sph_reg_ros.similarity.residual import ResidualBlock

SCALE = math.sqrt(2) / math.pi
"""Residuals by the learned distance: the largest distance in SO(4), sqrt(2) pi, costs 4, so that
scores lie in [-1, 1] as those of an image similarity do."""
_IMAGES_AT_ONCE = 32


class SphericalSimilarity:
    """The distance of encoded images as residuals: six for each pair of quaternions.

    The score is 1 - (d / pi)^2 by the learned distance d, hence 1 - 2 (D / (pi L))^2 for a
    displacement of D mm if the encoder is exact, L the twist length. The other heads
    (`networks.heads`) are scaled alike.

    All residuals see the whole image and err together: J^T J promises too much, and the
    covariance of a pose is to be taken from an image similarity.
    """

    def __init__(
        self,
        encoder: SphericalEncoder,
        fixed: Float[Tensor, '1 *features'],
        mask: Bool[Tensor, '1 H W'] | None,
    ) -> None:
        """Take the features of the X-ray; `prepare` computes them."""
        self._encoder, self._fixed, self._mask = encoder, fixed, mask

    @classmethod
    def prepare(
        cls,
        encoder: SphericalEncoder,
        xray: Float[Tensor, 'H W'],
        mask: Bool[Tensor, 'H W'] | None = None,
    ) -> 'SphericalSimilarity':
        """Encode an X-ray.

        Args:
            encoder: on any device; images are moved to it, results back.
            xray: line integrals of the encoder's image size; gain and offset do not matter.
            mask: pixels that count, in the renderings too; all if None.

        Raises:
            ConfigError: the image does not have the encoder's size.
            SolverError: NO_OVERLAP if the X-ray is constant within the mask.
        """
        if tuple(xray.shape) != tuple(encoder.config.image_size):
            raise ConfigError(
                ErrorCode.CONFIG_INVALID,
                f'the encoder takes images of {encoder.config.image_size}, '
                f'this one has {tuple(xray.shape)}: resample it',
            )
        place = next(encoder.parameters())
        usable = None if mask is None else mask[None].to(place.device)
        image = xray[None].to(place)
        if bool(is_constant(image, usable)):
            raise no_overlap()
        return cls(encoder, encoder(normalise(image, usable)), usable)

    def residuals(
        self, rendering: Float[Tensor, 'H W'], jacobian: Float[Tensor, 'H W 6']
    ) -> ResidualBlock:
        """Return r with |r|^2 = 2 (1 - score), and its derivative through the encoder.

        Raises:
            SolverError: NO_OVERLAP if the rendering is constant within the mask.
        """
        image = rendering[None].to(self._fixed)
        if bool(is_constant(image, self._mask)):
            raise no_overlap()
        residual, slope = encoded_residual(
            self._encoder, image, jacobian[None].to(self._fixed), self._fixed, self._mask
        )
        residual, slope = (SCALE * found[0].to(rendering) for found in (residual, slope))
        return ResidualBlock(residual, slope, torch.arange(len(residual)) // 6)

    def score(self, renderings: Float[Tensor, 'B H W']) -> Float[Tensor, 'B']:
        """Return 1 - |r|^2 / 2 of each rendering in float64, which tells 0.1 mm; -1 if constant."""
        parts = [self._score(part) for part in renderings.split(_IMAGES_AT_ONCE)]
        return torch.cat(parts).to(renderings.device)

    def reweighted(self, rendering: Float[Tensor, 'H W']) -> 'SphericalSimilarity':
        """Return the same: what the CT lacks was to be learned in training."""
        return self

    def _score(self, renderings: Float[Tensor, 'B H W']) -> Float[Tensor, 'B']:
        images = renderings.to(self._fixed)
        found = self._encoder(normalise(images, self._mask))
        cost = self._encoder.head.squared_distance(found, self._fixed).double() * SCALE**2
        return torch.where(is_constant(images, self._mask), -1.0, 1 - cost / 2)
