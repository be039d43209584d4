"""Group normalisation in networks that a library builds with batch normalisation."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

CHANNELS_A_GROUP = 8


def without_batch_norms(network: nn.Module) -> nn.Module:
    """Replace every batch norm inside a network by a group norm, and return the network.

    A batch of one image has no statistics worth the name, and those of a batch of simulated images
    are not those of an X-ray.
    """
    for name, part in network.named_children():
        if isinstance(part, _BatchNorm):
            setattr(network, name, group_norm(part.num_features))
        else:
            without_batch_norms(part)
    return network


def group_norm(channels: int) -> nn.GroupNorm:
    """Return a norm over groups of CHANNELS_A_GROUP channels, or one group if they do not fit."""
    fits = channels % CHANNELS_A_GROUP == 0
    return nn.GroupNorm(channels // CHANNELS_A_GROUP if fits else 1, channels)
