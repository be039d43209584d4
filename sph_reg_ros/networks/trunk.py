"""A ResNet (He et al., arXiv 1512.03385) that carries derivatives along, up to its last stage.

Regressor and encoder share it, so that an encoder can begin with what a regressor has learned.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from sph_reg_ros.errors import require_setting
from sph_reg_ros.geometry.so4 import EMBEDDING_LENGTH_MM
from sph_reg_ros.networks.group_norm import group_norm
from sph_reg_ros.networks.layers import (
    Chain,
    Convolution,
    Tangents,
    Value,
    slope_of_norm,
)
from sph_reg_ros.networks.smoothing import SmoothedConvolution, SmoothedPool

if TYPE_CHECKING:
    from sph_reg_ros.networks.regressor import PoseRegressor

_OWN_SHARE = 0.03


class GroupNorm(nn.GroupNorm):
    """Zero mean and unit deviation over the channels of a group and all pixels."""

    def push(self, value: Value, tangents: Tangents) -> tuple[Value, Tangents]:
        """Return the normalised images and tangents."""
        grouped = value.unflatten(1, (self.num_groups, -1))
        slope = slope_of_norm(
            grouped, tangents.unflatten(2, (self.num_groups, -1)), (-3, -2, -1), self.eps
        )
        return self(value), slope.flatten(2, 3) * self.weight[:, None, None]


class ReLU(nn.ReLU):
    """max(x, 0)."""

    def push(self, value: Value, tangents: Tangents) -> tuple[Value, Tangents]:
        """Return the activation and its tangents."""
        return self(value), tangents * (value > 0)[:, None]


class Block(nn.Module):
    """Two filters beside a short cut, which is filtered too where sizes differ."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        """Take images of `before` channels."""
        super().__init__()
        self.main = Chain(
            _filter(before, width, 3, stride),
            _norm(width),
            ReLU(),
            _filter(width, width, 3, 1),
            _norm(width),
        )
        same = stride == 1 and before == width
        self.shortcut = (
            Chain() if same else Chain(_filter(before, width, 1, stride, bias=True), _norm(width))
        )
        self.end = ReLU()

    def forward(self, value: Value) -> Value:
        """Return the activation of the sum."""
        total: Value = self.end(self.main(value) + self.shortcut(value))
        return total

    def push(self, value: Value, tangents: Tangents) -> tuple[Value, Tangents]:
        """Return the activation and its tangents."""
        found, slope = self.main.push(value, tangents)
        kept, kept_slope = self.shortcut.push(value, tangents)
        return self.end.push(found + kept, slope + kept_slope)


def resnet(widths: Sequence[int], depths: Sequence[int]) -> Iterator[nn.Module]:
    """Yield the layers from images of one channel to `widths[-1]` channels.

    Args:
        widths: channels of each stage; each after the first halves the resolution.
        depths: blocks of each stage.
    """
    before = widths[0]
    yield _filter(1, before, 7, 2)
    yield _norm(before)
    yield ReLU()
    yield SmoothedPool()
    for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        for block in range(depth):
            yield Block(before, width, 2 if stage > 0 and block == 0 else 1)
            before = width


@torch.no_grad()
def begin_with(trunk: nn.Module, regressor: 'PoseRegressor') -> None:
    """Copy the filters of a regressor into a trunk of the same sizes.

    Raises:
        ConfigError: their sizes differ.
    """
    own, learned = list(trunk.parameters()), list(regressor.trunk.parameters())
    require_setting(
        [p.shape for p in own] == [p.shape for p in learned],
        'the encoder cannot begin with this regressor: its trunk must be a resnet of the same '
        'widths and depths',
    )
    for mine, theirs in zip(own, learned, strict=True):
        mine.copy_(theirs)


@torch.no_grad()
def readout_from(readout: nn.Linear, regressor: 'PoseRegressor') -> None:
    """Make a layer give omega / 2 + v / 2L, then omega / 2 - v / 2L, for each of its pairs.

    The twist (omega, v) is the regressor's displacement from the nominal pose; the exponentials of
    both are its pair in SO(4) (`so4.pose_embedding`) but for terms of third order. A little of the
    layer's own random weights stays, so that pairs can learn to differ.
    """
    pairs, last = len(readout.bias) // 6, regressor.last
    typical = regressor.head.typical.to(readout.weight)[:, None]
    for mine, theirs in (
        (readout.weight, last.weight),
        (readout.bias[:, None], last.bias[:, None]),
    ):
        rotation, shift = (typical * theirs).split(3)
        both = [rotation / 2 + sign * shift / (2 * EMBEDDING_LENGTH_MM) for sign in (1, -1)]
        mine.mul_(_OWN_SHARE).add_(torch.cat(both).repeat(pairs, 1))


def _filter(before: int, width: int, size: int, stride: int, bias: bool = False) -> Convolution:
    kind = Convolution if stride == 1 else SmoothedConvolution
    return kind(before, width, size, stride, size // 2, bias=bias)


def _norm(channels: int) -> GroupNorm:
    like = group_norm(channels)
    return GroupNorm(like.num_groups, channels)
