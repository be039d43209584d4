"""ResNeSt's bottleneck: filters in two groups, weighed against each other by the whole image."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sph_reg_ros.networks.group_norm import group_norm

RADIX = 2
_SMALLEST_SQUEEZE = 8


class SplitAttention(nn.Module):
    """3 x 3 filters whose RADIX parts share each channel (Zhang et al., arXiv 2004.08955)."""

    def __init__(self, channels: int) -> None:
        """Keep the number of channels."""
        super().__init__()
        squeezed = max(channels * RADIX // 4, _SMALLEST_SQUEEZE)
        self.filters = nn.Sequential(
            nn.Conv2d(channels, channels * RADIX, 3, padding=1, groups=RADIX, bias=False),
            group_norm(channels * RADIX),
            nn.ReLU(),
        )
        self.weigh = nn.Sequential(
            nn.Conv2d(channels, squeezed, 1),
            group_norm(squeezed),
            nn.ReLU(),
            nn.Conv2d(squeezed, channels * RADIX, 1),
        )

    def forward(self, images: Float[Tensor, 'B C h w']) -> Float[Tensor, 'B C h w']:
        """Return the weighted sum of the halves."""
        halves = self.filters(images).unflatten(1, (RADIX, -1))
        seen = halves.sum(1).mean((-2, -1), keepdim=True)
        share = self.weigh(seen).unflatten(1, (RADIX, -1)).softmax(1)
        return (halves * share).sum(1)


class SplitAttentionBottleneck(nn.Module):
    """1 x 1, split attention, 1 x 1, added to what came in."""

    def __init__(self, channels: int) -> None:
        """Halve the channels inside where they are even."""
        super().__init__()
        inner = max(channels // 2, RADIX) // RADIX * RADIX
        self.change = nn.Sequential(
            nn.Conv2d(channels, inner, 1, bias=False),
            group_norm(inner),
            nn.ReLU(),
            SplitAttention(inner),
            nn.Conv2d(inner, channels, 1, bias=False),
            group_norm(channels),
        )

    def forward(self, images: Float[Tensor, 'B C h w']) -> Float[Tensor, 'B C h w']:
        """Return the changed images."""
        return torch.relu(images + self.change(images))
