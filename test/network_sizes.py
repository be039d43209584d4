"""Networks so small that tests of them take milliseconds."""

from dataclasses import replace

import torch

from sph_reg_ros.networks.agnostic import AgnosticConfig
from sph_reg_ros.networks.encoder import SphericalEncoder
from sph_reg_ros.networks.encoder_config import EncoderConfig
from sph_reg_ros.networks.regressor import RegressorConfig

TINY_ENCODER = EncoderConfig(
    image_size=(32, 24),
    pairs=3,
    stem_kernel=5,
    stem_stride=2,
    widths=(8, 16),
    depths=(1, 1),
    transformer_blocks=2,
    attention_heads=2,
)
TINY_REGRESSOR = RegressorConfig(image_size=(32, 32), widths=(8, 8, 16, 16), depths=(1, 1, 1, 1))
TINY_AGNOSTIC = AgnosticConfig(image_size=(32, 32), widths=(4, 8), grid=4)


def random_encoder(seed: int = 0, **changes) -> SphericalEncoder:
    """Return an encoder with random weights, none of them zero, in double precision."""
    torch.manual_seed(seed)
    encoder = SphericalEncoder(replace(TINY_ENCODER, **changes)).double()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return encoder.requires_grad_(False)
