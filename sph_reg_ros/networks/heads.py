"""Heads: feature spaces and their distances, in SO(4), on a sphere, in a vector space.

Whatever the head, `residual` is a vector whose length is the learned distance d of two images, so
that one solver serves all of them. Training makes d agree with the distance of the poses, measured
in SO(4): a displacement of D mm is d = sqrt(2) D / EMBEDDING_LENGTH_MM (`so4.pose_embedding`).
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sph_reg_ros.geometry import quaternion, so4
from sph_reg_ros.networks.encoder_config import EncoderConfig

SHORT = 0.1
"""Vectors shorter than this before scaling cost something in training (`shortness`)."""
_SMALLEST_LENGTH = 1e-8
_SERIES_TERMS = 12
_SMALLEST_SINE = 1e-3


class Head(nn.Module):
    """A plain vector space, the Euclidean head; the others change what they need to.

    Attributes:
        numbers: that the encoder's last layer gives for each of K pairs.
    """

    numbers = 8

    def project(self, raw: Float[Tensor, 'B n']) -> Float[Tensor, 'B *features']:
        """Return features from the encoder's last layer."""
        return raw

    def residual(
        self, moving: Float[Tensor, 'B *features'], fixed: Float[Tensor, 'B *features']
    ) -> Float[Tensor, 'B m']:
        """Return a vector of length d, zero where the features are the same."""
        return moving - fixed

    def squared_distance(
        self, moving: Float[Tensor, 'B *features'], fixed: Float[Tensor, 'B *features']
    ) -> Float[Tensor, 'B']:
        """Return d^2, which unlike d is smooth at 0."""
        return self.residual(moving, fixed).square().sum(-1)

    def shortness(self, raw: Float[Tensor, 'B n']) -> Float[Tensor, 'B']:
        """Return the sum of relu(SHORT - length)^2 over what `project` scales to unit length."""
        return torch.zeros_like(raw[..., 0])


class SO4Head(Head):
    """K pairs of unit quaternions; d^2 is the weighted mean of their squared distances in SO(4).

    A quaternion is the exponential of three numbers, not four numbers scaled to unit length: no
    number is lost, none is too short, and a displacement from the nominal pose by (omega rad, v mm)
    is nearly linear in them: omega / 2 +- v / 2L (`so4.pose_embedding`), which is what the last
    layer of a pose regressor computes.
    """

    numbers = 6

    def __init__(self, pairs: int) -> None:
        """Start with equal weights."""
        super().__init__()
        self.log_weights = nn.Parameter(torch.zeros(pairs))

    def project(self, raw: Float[Tensor, 'B 6*K']) -> Float[Tensor, 'B K 2 4']:
        """Return pairs (p, q), scalar first."""
        return quaternion.exp(raw.unflatten(-1, (-1, 2, 3)))

    def residual(
        self, moving: Float[Tensor, 'B K 2 4'], fixed: Float[Tensor, 'B K 2 4']
    ) -> Float[Tensor, 'B 6*K']:
        """Return the logarithms of the differences, by the roots of the pairs' weights."""
        return (self._roots * so4.residual(moving, fixed)).flatten(-2)

    def pose_slopes(
        self, moving: Float[Tensor, 'B K 2 4'], fixed: Float[Tensor, 'B K 2 4']
    ) -> Float[Tensor, 'B 6*K 6']:
        """Return the derivative of `residual` by a twist of the pose if each pair embeds it."""
        return (self._roots[..., None] * so4.residual_slopes(moving, fixed)).flatten(-3, -2)

    @property
    def _roots(self) -> Float[Tensor, 'K 1']:
        return self.log_weights.softmax(0).sqrt()[:, None]


class SphereHead(Head):
    """One unit vector; d is the angle between two."""

    def project(self, raw: Float[Tensor, 'B n']) -> Float[Tensor, 'B n']:
        """Return the direction."""
        return _unit(raw)

    def residual(
        self, moving: Float[Tensor, 'B n'], fixed: Float[Tensor, 'B n']
    ) -> Float[Tensor, 'B n']:
        """Return the logarithm on the sphere: the tangent at `fixed` that leads to `moving`."""
        apart = moving - fixed
        chord_sq = apart.square().sum(-1, keepdim=True)
        # moving - cos(a) fixed, without the cancellation for small angles a.
        return _angle_by_sine(chord_sq) * (apart + chord_sq / 2 * fixed)

    def shortness(self, raw: Float[Tensor, 'B n']) -> Float[Tensor, 'B']:
        """Return it for the one vector."""
        return (SHORT - raw.norm(dim=-1)).relu().square()


def head_for(config: EncoderConfig) -> Head:
    """Return the head of a configuration."""
    if config.head == 'so4':
        return SO4Head(config.pairs)
    return SphereHead() if config.head == 'sphere' else Head()


def _unit(vectors: Float[Tensor, 'B n']) -> Float[Tensor, 'B n']:
    return vectors / vectors.norm(dim=-1, keepdim=True).clamp(min=_SMALLEST_LENGTH)


def _angle_by_sine(chord_sq: Float[Tensor, 'B 1']) -> Float[Tensor, 'B 1']:
    """Return a / sin a by the squared chord of the angle a, smooth at 0, bounded near pi.

    With x = chord / 2: asin(x) / (x sqrt(1 - x^2)) = sum_n (2 x)^(2n) n!^2 / (2n + 1)!.
    """
    near = chord_sq < 0.25
    small = torch.where(near, chord_sq, 0.0)
    series = torch.ones_like(small)
    for n in reversed(range(1, _SERIES_TERMS)):
        series = 1 + series * small * (n / (2 * (2 * n + 1)))
    large = torch.where(near, 1.0, chord_sq.clamp(max=4.0))
    sine = (large * (1 - large / 4)).clamp(min=_SMALLEST_SINE**2).sqrt()
    return torch.where(near, series, torch.atan2(sine, 1 - large / 2) / sine)
