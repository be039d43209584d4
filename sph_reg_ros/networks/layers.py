"""Layers with forward-mode derivatives: `push` maps a value and its tangents in one pass.

The same as `torch.func.jvp` under `vmap`, which works too but takes three times as long (measured
on a CPU): it also multiplies by the zero tangents of all weights. A value is [B, ...], its tangents
are [B, T, ...], one for each of T directions.
"""

import math
from typing import Protocol, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

Value = Float[Tensor, 'B *rest']
Tangents = Float[Tensor, 'B T *rest']


class Layer(Protocol):
    """A map of values and of their tangents."""

    def push(self, value: Value, tangents: Tangents) -> tuple[Value, Tangents]:
        """Return the layer's output and its derivative in each direction."""


class Chain(nn.Sequential):
    """One layer after the other."""

    def push(self, value: Value, tangents: Tangents) -> tuple[Value, Tangents]:
        """Return the output of the last layer and its tangents."""
        for layer in self:
            value, tangents = cast(Layer, layer).push(value, tangents)
        return value, tangents


class Residual(Chain):
    """Layers whose output is added to their input."""

    def forward(self, value: Value) -> Value:
        """Return the input plus what the layers make of it."""
        return value + super().forward(value)

    def push(self, value: Value, tangents: Tangents) -> tuple[Value, Tangents]:
        """Return the sum and its tangents."""
        change, slope = super().push(value, tangents)
        return value + change, tangents + slope


class Convolution(nn.Conv2d):
    """A convolution of images."""

    def push(self, value: Value, tangents: Tangents) -> tuple[Value, Tangents]:
        """Return the filtered images and tangents; the offset is constant."""
        slope = self._conv_forward(tangents.flatten(0, 1), self.weight, None)
        return self(value), slope.unflatten(0, tangents.shape[:2])


class Linear(nn.Linear):
    """A linear map of the last axis."""

    def push(self, value: Value, tangents: Tangents) -> tuple[Value, Tangents]:
        """Return the mapped values and tangents; the offset is constant."""
        return self(value), nn.functional.linear(tangents, self.weight)


class GELU(nn.GELU):
    """x Phi(x), Phi the normal distribution (Hendrycks and Gimpel, arXiv 1606.08415)."""

    def push(self, value: Value, tangents: Tangents) -> tuple[Value, Tangents]:
        """Return the activation and its tangents."""
        share = 0.5 * (1 + torch.erf(value / math.sqrt(2)))
        slope = share + value * torch.exp(-value.square() / 2) / math.sqrt(2 * math.pi)
        return value * share, tangents * slope[:, None]


class ImageNorm(nn.GroupNorm):
    """Zero mean and unit deviation over channels and pixels, then a gain and offset a channel."""

    def __init__(self, channels: int) -> None:
        """Take all channels as one group."""
        super().__init__(1, channels)

    def push(self, value: Value, tangents: Tangents) -> tuple[Value, Tangents]:
        """Return the normalised images and tangents."""
        slope = slope_of_norm(value, tangents, (-3, -2, -1), self.eps)
        return self(value), slope * self.weight[:, None, None]


class TokenNorm(nn.LayerNorm):
    """Zero mean and unit deviation over the channels of each token."""

    def push(self, value: Value, tangents: Tangents) -> tuple[Value, Tangents]:
        """Return the normalised tokens and tangents."""
        return self(value), slope_of_norm(value, tangents, (-1,), self.eps) * self.weight


class Attention(nn.Module):
    """Self-attention with several heads (Vaswani et al., arXiv 1706.03762, 3.2).

    Written out because the fused one has no forward mode.
    """

    def __init__(self, channels: int, heads: int) -> None:
        """Take tokens [B, n, channels]; `heads` divides the channels."""
        super().__init__()
        self.heads = heads
        self.to_qkv = Linear(channels, 3 * channels)
        self.out = Linear(channels, channels)

    def forward(self, tokens: Float[Tensor, 'B n c']) -> Float[Tensor, 'B n c']:
        """Return what the tokens gather from each other."""
        q, k, v = self._split(self.to_qkv(tokens))
        return self.out(_joined((q @ k.mT).softmax(-1) @ v))

    def push(self, value: Value, tangents: Tangents) -> tuple[Value, Tangents]:
        """Return the output and its tangents."""
        value, tangents = self.to_qkv.push(value, tangents)
        q, k, v = self._split(value)
        dq, dk, dv = self._split(tangents)
        share = (q @ k.mT).softmax(-1)
        q, k, v, known = q[:, None], k[:, None], v[:, None], share[:, None]
        d_share = known * (dq @ k.mT + q @ dk.mT)
        d_share = d_share - known * d_share.sum(-1, keepdim=True)
        gathered = _joined((known @ v)[:, 0])
        return self.out.push(gathered, _joined(d_share @ v + known @ dv))

    def _split(self, qkv: Float[Tensor, '*b n 3*c']) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values of each head [*b, h, n, d], ready to be multiplied."""
        q, k, v = qkv.unflatten(-1, (3, self.heads, -1)).transpose(-4, -2).unbind(-3)
        return q * q.shape[-1] ** -0.5, k, v


def _joined(heads: Float[Tensor, '*b h n d']) -> Float[Tensor, '*b n h*d']:
    return heads.transpose(-3, -2).flatten(-2)


def slope_of_norm(value: Tensor, tangents: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    """Return d(x / |x|) for centred x: what is left of dx without its mean and its part along x."""
    centred = value - value.mean(dims, keepdim=True)
    scale = (centred.square().mean(dims, keepdim=True) + eps).rsqrt()
    unit = (centred * scale)[:, None]
    flat = tangents - tangents.mean(dims, keepdim=True)
    return (flat - unit * (unit * tangents).mean(dims, keepdim=True)) * scale[:, None]
