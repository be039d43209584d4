"""Pose output: six numbers to a pose about the nominal view."""

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from sph_reg_ros.geometry import se3

TYPICAL_ROTATION_RAD = (0.3, 0.3, 0.3)
TYPICAL_TRANSLATION_MM = (40.0, 40.0, 80.0)
"""Along the image's columns and rows, and along the beam."""


class PoseHead(nn.Module):
    """The nominal view, moved by Exp of a twist whose typical entries are 1.

    Buffers keep float64 and are saved with the weights: poses in mm need it.
    """

    nominal: Tensor
    centre: Tensor
    typical: Tensor

    def __init__(
        self,
        nominal: Float64[Tensor, '4 4'],
        centre_mm: Float64[Tensor, '3'],
        typical_twist: tuple[float, ...],
    ) -> None:
        """Take the view in the middle of the expected ones.

        Args:
            nominal: camera_from_ct.
            centre_mm: point of the CT (LPS) that rotations leave where it is.
            typical_twist: (omega rad, v mm) that an output of ones stands for.
        """
        super().__init__()
        self.register_buffer('nominal', nominal.double().clone())
        self.register_buffer('centre', centre_mm.double().clone())
        self.register_buffer('typical', torch.tensor(typical_twist, dtype=torch.float64))

    def forward(self, outputs: Float[Tensor, 'B 6']) -> Float64[Tensor, 'B 4 4']:
        """Return camera_from_ct."""
        return se3.apply_twist(outputs.double() * self.typical, self.nominal, self.centre)


def last_layer(features: int) -> nn.Linear:
    """Return six outputs with weights so small that a regressor starts near the nominal view."""
    layer = nn.Linear(features, 6)
    nn.init.normal_(layer.weight, std=1e-3)
    nn.init.zeros_(layer.bias)
    return layer
