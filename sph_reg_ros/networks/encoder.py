"""The encoder of the learned similarity: convolutions, transformer, head."""

from collections.abc import Iterator
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sph_reg_ros.networks.encoder_config import EncoderConfig
from sph_reg_ros.networks.heads import head_for
from sph_reg_ros.networks.layers import (
    GELU,
    Attention,
    Chain,
    Convolution,
    ImageNorm,
    Linear,
    Residual,
    TokenNorm,
)
from sph_reg_ros.networks.regressor import PoseRegressor
from sph_reg_ros.networks.trunk import resnet
from sph_reg_ros.networks.warm_start import begin_with, readout_from

_FLAT_WIDTH = 16


class SphericalEncoder(nn.Module):
    """Images to points on spheres, the same network for X-rays and renderings.

    A ResNet that may begin with what the pose regressor has learned, or a shallow network of
    PoolFormer's blocks (Yu et al., arXiv 2111.11418; mixing by a depthwise filter, which can learn
    to be the pooling), then transformer blocks over its last pixels. Norms never look across a
    batch, which may be one image. What 2509.06890 uses is not known; this is a reconstruction.

    Attributes:
        config: sizes.
        head: what the features are and how they are compared (`networks.heads`).
    """

    def __init__(self, config: EncoderConfig) -> None:
        """Build the network with random weights."""
        super().__init__()
        self.config = config
        self.head = head_for(config)
        self.body = Chain(*_body(config, self.head.numbers * config.pairs))
        nn.init.zeros_(cast(Linear, self.body[-1]).bias)

    @property
    def trunk(self) -> Chain:
        """Return the convolutions before the transformer."""
        return cast(Chain, self.body[0])

    def begin_with(self, regressor: PoseRegressor) -> None:
        """Copy the filters of a regressor, and with the head so4 its pose output.

        Raises:
            ConfigError: the sizes of the filters differ.
        """
        begin_with(self.trunk, regressor)
        if self.config.head == 'so4' and self.config.pooling == 'mean':
            readout_from(cast(Linear, self.body[-1]), regressor)

    def forward(self, images: Float[Tensor, 'B 1 H W']) -> Float[Tensor, 'B *features']:
        """Return pairs [B, K, 2, 4], unit vectors [B, 8 K] or vectors [B, 8 K] of the head.

        Args:
            images: as `normalise` returns them, of `config.image_size`.
        """
        return self.head.project(self.raw(images))

    def raw(self, images: Float[Tensor, 'B 1 H W']) -> Float[Tensor, 'B n']:
        """Return the features before the head scales them to unit length."""
        raw: Tensor = self.body(images)
        return raw

    def push(
        self, images: Float[Tensor, 'B 1 H W'], tangents: Float[Tensor, 'B T 1 H W']
    ) -> tuple[Float[Tensor, 'B n'], Float[Tensor, 'B T n']]:
        """Return `raw` and its derivative along each of T changes of every image."""
        return self.body.push(images, tangents)


class Tokens(nn.Module):
    """The pixels of an image as a sequence, each with what is learned about its place."""

    def __init__(self, count: int, channels: int) -> None:
        """Expect images of `count` pixels."""
        super().__init__()
        self.place = nn.Parameter(torch.empty(count, channels))
        nn.init.trunc_normal_(self.place, std=0.02)

    def forward(self, images: Float[Tensor, 'B c h w']) -> Float[Tensor, 'B h*w c']:
        """Return the tokens row by row."""
        return images.flatten(-2).mT + self.place

    def push(
        self, value: Float[Tensor, 'B c h w'], tangents: Float[Tensor, 'B T c h w']
    ) -> tuple[Float[Tensor, 'B h*w c'], Float[Tensor, 'B T h*w c']]:
        """Return tokens and tangents; places do not change."""
        return self(value), tangents.flatten(-2).mT


class MeanOfTokens(nn.Module):
    """The mean over all places."""

    def forward(self, tokens: Float[Tensor, '*b n c']) -> Float[Tensor, '*b c']:
        """Return the mean."""
        return tokens.mean(-2)

    def push(
        self, value: Float[Tensor, 'B n c'], tangents: Float[Tensor, 'B T n c']
    ) -> tuple[Float[Tensor, 'B c'], Float[Tensor, 'B T c']]:
        """Return the means."""
        return self(value), self(tangents)


class AllTokens(MeanOfTokens):
    """All tokens, one after the other."""

    def forward(self, tokens: Float[Tensor, '*b n c']) -> Float[Tensor, '*b n*c']:
        """Return the tokens as one vector."""
        return tokens.flatten(-2)


def _body(config: EncoderConfig, outputs: int) -> Iterator[nn.Module]:
    trunk = resnet(config.widths, config.depths) if config.trunk == 'resnet' else _pool(config)
    width = config.widths[-1]
    yield Chain(*trunk)
    yield Tokens(config.tokens, width)
    for _ in range(config.transformer_blocks):
        yield from _token_block(width, config)
    if config.trunk == 'pool':
        yield TokenNorm(width)
    yield from _readout(width, config, outputs)


def _pool(config: EncoderConfig) -> Iterator[nn.Module]:
    width = config.widths[0]
    padding = config.stem_kernel // 2
    yield Convolution(1, width, config.stem_kernel, config.stem_stride, padding)
    for index, depth in enumerate(config.depths):
        if index > 0:
            before, width = width, config.widths[index]
            yield Convolution(before, width, 2, 2)
        for _ in range(depth):
            yield from _image_block(width, config.expansion)


def _image_block(width: int, expansion: int) -> Iterator[nn.Module]:
    inner = width * expansion
    yield Residual(ImageNorm(width), Convolution(width, width, 3, padding=1, groups=width))
    yield Residual(
        ImageNorm(width), Convolution(width, inner, 1), GELU(), Convolution(inner, width, 1)
    )


def _token_block(width: int, config: EncoderConfig) -> Iterator[nn.Module]:
    inner = width * config.expansion
    attention, last = Attention(width, config.attention_heads), Linear(inner, width)
    # A block starts out changing nothing, so that what the trunk has learned is not lost.
    for layer in (attention.out, last):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    yield Residual(TokenNorm(width), attention)
    yield Residual(TokenNorm(width), Linear(width, inner), GELU(), last)


def _readout(width: int, config: EncoderConfig, outputs: int) -> Iterator[nn.Module]:
    if config.pooling == 'mean':
        yield MeanOfTokens()
        yield Linear(width, outputs)
    else:
        # Few channels a token, or the last layer would hold most of all weights.
        yield Linear(width, _FLAT_WIDTH)
        yield AllTokens()
        yield Linear(_FLAT_WIDTH * config.tokens, outputs)
