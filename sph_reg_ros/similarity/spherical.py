"""The learned similarity: how far X-ray and rendering lie apart in the space of an encoder."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sph_reg_ros.errors import ConfigError, ErrorCode
from sph_reg_ros.networks.encoder import SphericalEncoder
from sph_reg_ros.networks.heads import SO4Head
from sph_reg_ros.networks.normalise import is_constant, normalise
from sph_reg_ros.similarity.encoded import encoded_residual
from sph_reg_ros.similarity.normal_equations import NormalEquations, of_residuals
from sph_reg_ros.similarity.patches import no_overlap
from sph_reg_ros.similarity.residual import ResidualBlock
from sph_reg_ros.similarity.robust import Robust
from sph_reg_ros.similarity.shifted import SHIFTS_PX, shifted

SCALE = math.sqrt(2) / math.pi
"""Residuals by the learned distance: the largest distance in SO(4), sqrt(2) pi, costs 4, so that
scores lie in [-1, 1] as those of an image similarity do."""
RESIDUALS_PER_PAIR = 6
"""Of quaternions."""
_RENDERINGS_AT_ONCE = 4


class SphericalSimilarity:
    """The distance of encoded images as residuals: six for each pair of quaternions.

    Both images are encoded in copies, shifted by the same few pixels, and what is compared is the
    mean of all squared distances: the distance in SO(4) does not change when both poses are moved
    alike, but an encoder errs differently each time, and most in its slopes.

    The score is 1 - (d / pi)^2 by the learned distance d, hence 1 - 2 (D / (pi L))^2 for a
    displacement of D mm if the encoder is exact, L = `so4.EMBEDDING_LENGTH_MM`. The other heads
    (`networks.heads`) are scaled alike.

    Where features are poses (the loss `pose` of training), what a twist of the rendering's pose
    does to them is known without its image: `so4.residual_slopes` at the features found. On a CPU
    that is less than a tenth of the time of the derivative through the encoder, and it is without
    the errors of the encoder's slopes.

    All residuals see the whole image and err together: J^T J promises too much, and the
    covariance of a pose is to be taken from an image similarity.
    """

    def __init__(
        self,
        encoder: SphericalEncoder,
        fixed: Float[Tensor, 'M *features'],
        masks: Bool[Tensor, 'M H W'],
        pose_slopes: bool,
    ) -> None:
        """Take the features of M copies of the X-ray and their masks; `prepare` computes them."""
        self._encoder, self._fixed, self._masks = encoder, fixed, masks
        self._pose_slopes = pose_slopes

    @classmethod
    def prepare(
        cls,
        encoder: SphericalEncoder,
        xray: Float[Tensor, 'H W'],
        mask: Bool[Tensor, 'H W'] | None = None,
        *,
        pose_slopes: bool = False,
    ) -> 'SphericalSimilarity':
        """Encode an X-ray.

        Args:
            encoder: on any device; images are moved to it, results back.
            xray: line integrals of the encoder's image size; gain and offset do not matter.
            mask: pixels that count, in the renderings too; all if None.
            pose_slopes: take slopes from features, which then have to be poses, instead of through
                the encoder.

        Raises:
            ConfigError: the image does not have the encoder's size, or no head but so4 has features
                that are poses.
            SolverError: NO_OVERLAP if the X-ray is constant within the mask.
        """
        if tuple(xray.shape) != tuple(encoder.config.image_size):
            raise ConfigError(
                ErrorCode.CONFIG_INVALID,
                f'the encoder takes images of {encoder.config.image_size}, '
                f'this one has {tuple(xray.shape)}: resample it',
            )
        if pose_slopes and not isinstance(encoder.head, SO4Head):
            raise ConfigError(
                ErrorCode.CONFIG_INVALID, f'features of the head {encoder.config.head} are no poses'
            )
        place = next(encoder.parameters())
        usable = torch.ones_like(xray, dtype=torch.bool) if mask is None else mask
        images, masks = shifted(xray.to(place)), shifted(usable.to(place.device))
        if bool(is_constant(images, masks).any()):
            raise no_overlap()
        return cls(encoder, encoder(normalise(images, masks)), masks, pose_slopes)

    def on(self, device: torch.device) -> 'SphericalSimilarity':
        """Return the similarity for renderings on a device: it takes them wherever they are."""
        return self

    def residuals(
        self, rendering: Float[Tensor, 'H W'], jacobian: Float[Tensor, 'H W 6']
    ) -> ResidualBlock:
        """Return r with |r|^2 = 2 (1 - score), and its derivative by the pose.

        With `pose_slopes` that of an encoder whose features are poses without any error.

        Raises:
            SolverError: NO_OVERLAP if the rendering is constant within the mask.
        """
        images = shifted(rendering.to(self._fixed))
        if bool(is_constant(images, self._masks).any()):
            raise no_overlap()
        if self._pose_slopes:
            found = self._from_features(images)
        else:
            slopes = shifted(jacobian.to(self._fixed).movedim(-1, 0)).movedim(0, -1)
            found = encoded_residual(self._encoder, images, slopes, self._fixed, self._masks)
        scale = SCALE / math.sqrt(len(SHIFTS_PX))
        # Some hundred numbers: what is made of them is nothing for a GPU.
        residual, slope = (
            (scale * part.flatten(0, 1)).to('cpu', rendering.dtype) for part in found
        )
        return ResidualBlock(residual, slope, torch.arange(len(residual)) // RESIDUALS_PER_PAIR)

    def normal_equations(
        self,
        renderings: Float[Tensor, 'B H W'],
        jacobians: Float[Tensor, 'B H W n'],
        robust: Robust | None = None,
        patches: bool = False,
    ) -> NormalEquations:
        """Return cost, gradient and Gauss-Newton matrix of each rendering (`ImageSimilarity`)."""
        residuals = self._encoder.head.residual(self._fixed, self._fixed).numel()
        count = math.ceil(residuals / RESIDUALS_PER_PAIR) if patches else 0
        return of_residuals(self.residuals, renderings, jacobians, robust, count)

    def score(self, renderings: Float[Tensor, 'B H W']) -> Float[Tensor, 'B']:
        """Return 1 - |r|^2 / 2 of each rendering in float64, which tells 0.1 mm; -1 if constant."""
        parts = [self._score(part) for part in renderings.split(_RENDERINGS_AT_ONCE)]
        return torch.cat(parts).to(renderings.device)

    def reweighted(self, rendering: Float[Tensor, 'H W']) -> 'SphericalSimilarity':
        """Return the same: what the CT lacks was to be learned in training."""
        return self

    def _from_features(
        self, images: Float[Tensor, 'M H W']
    ) -> tuple[Float[Tensor, 'M n'], Float[Tensor, 'M n 6']]:
        head = self._encoder.head
        assert isinstance(head, SO4Head)
        features = self._encoder(normalise(images, self._masks))
        return head.residual(features, self._fixed), head.pose_slopes(features, self._fixed)

    def _score(self, renderings: Float[Tensor, 'B H W']) -> Float[Tensor, 'B']:
        images = shifted(renderings.to(self._fixed))
        masks = self._masks.expand_as(images)
        of_all = images.flatten(0, 1), masks.flatten(0, 1)
        found = self._encoder(normalise(*of_all)).unflatten(0, images.shape[:2])
        cost = self._encoder.head.squared_distance(found, self._fixed).double().mean(-1)
        constant = is_constant(*of_all).unflatten(0, images.shape[:2]).any(-1)
        return torch.where(constant, -1.0, 1 - SCALE**2 * cost / 2)
