"""A ResNet (He et al., arXiv 1512.03385) with forward-mode derivatives, up to its last stage.

Regressor and encoder share it, so that an encoder can begin with what a regressor has learned.
"""

from collections.abc import Iterator, Sequence

from torch import nn

from sph_reg_ros.networks.group_norm import group_norm
from sph_reg_ros.networks.layers import (
    Chain,
    Convolution,
    Tangents,
    Value,
    slope_of_norm,
)
from sph_reg_ros.networks.smoothing import SmoothedConvolution, SmoothedPool


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


def _filter(before: int, width: int, size: int, stride: int, bias: bool = False) -> Convolution:
    kind = Convolution if stride == 1 else SmoothedConvolution
    return kind(before, width, size, stride, size // 2, bias=bias)


def _norm(channels: int) -> GroupNorm:
    like = group_norm(channels)
    return GroupNorm(like.num_groups, channels)
