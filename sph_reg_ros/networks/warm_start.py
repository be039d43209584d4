"""Initialises an encoder with the weights of a pose regressor."""

import torch
from torch import nn

from sph_reg_ros.errors import require_setting
from sph_reg_ros.geometry.so4 import EMBEDDING_LENGTH_MM
from sph_reg_ros.networks.regressor import PoseRegressor

_OWN_SHARE = 0.03


@torch.no_grad()
def begin_with(trunk: nn.Module, regressor: PoseRegressor) -> None:
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
def readout_from(readout: nn.Linear, regressor: PoseRegressor) -> None:
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
