"""Anti-aliased downsampling layers.

Without that, what a network says jumps back and forth as an image moves by less than a pixel, and
its derivative by the pose, which registration needs, is mostly noise (Zhang, arXiv 1904.11486).
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sph_reg_ros.networks.layers import Convolution, Tangents, Value

_BINOMIAL = (0.25, 0.5, 0.25)


class SmoothedConvolution(Convolution):
    """A convolution with a stride, of smoothed images."""

    def forward(self, value: Value) -> Value:
        """Return the filtered images."""
        return super().forward(smooth(value))

    def push(self, value: Value, tangents: Tangents) -> tuple[Value, Tangents]:
        """Return the filtered images and tangents; the offset is constant."""
        slope = self._conv_forward(smooth(tangents.flatten(0, 1)), self.weight, None)
        return self(value), slope.unflatten(0, tangents.shape[:2])


class SmoothedPool(nn.Module):
    """Every second pixel of smoothed images, where a ResNet takes the largest of nine.

    Which one is largest changes abruptly, too, and finding out took a third of all time.
    """

    def forward(self, value: Value) -> Value:
        """Return the pooled images."""
        return smooth(value, stride=2)

    def push(self, value: Value, tangents: Tangents) -> tuple[Value, Tangents]:
        """Return the pooled images and tangents."""
        pooled = smooth(tangents.flatten(0, 1), stride=2)
        return self(value), pooled.unflatten(0, tangents.shape[:2])


def smooth(images: Float[Tensor, 'B c h w'], stride: int = 1) -> Float[Tensor, 'B c H W']:
    """Return images after a binomial filter of 3 x 3 pixels, with replicated borders."""
    channels = images.shape[1]
    row = torch.tensor(_BINOMIAL, dtype=images.dtype, device=images.device)
    kernel = (row[:, None] * row).expand(channels, 1, 3, 3)
    padded = nn.functional.pad(images, (1, 1, 1, 1), mode='replicate')
    return nn.functional.conv2d(padded, kernel, stride=stride, groups=channels)
