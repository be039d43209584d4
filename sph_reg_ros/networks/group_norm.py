"""Group normalisation, which does not depend on the batch size."""

from torch import nn

CHANNELS_A_GROUP = 8


def group_norm(channels: int) -> nn.GroupNorm:
    """Return a norm over groups of CHANNELS_A_GROUP channels, or one group if they do not fit."""
    fits = channels % CHANNELS_A_GROUP == 0
    return nn.GroupNorm(channels // CHANNELS_A_GROUP if fits else 1, channels)
