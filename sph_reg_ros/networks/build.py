"""Builds networks by the kind that their card names."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from torch import nn

from sph_reg_ros.errors import ConfigError, ErrorCode
from sph_reg_ros.networks.agnostic import AgnosticConfig, AgnosticRegressor
from sph_reg_ros.networks.card import KINDS
from sph_reg_ros.networks.encoder import SphericalEncoder
from sph_reg_ros.networks.encoder_config import EncoderConfig
from sph_reg_ros.networks.regressor import PoseRegressor, RegressorConfig
from sph_reg_ros.settings import from_plain

Network = SphericalEncoder | PoseRegressor | AgnosticRegressor

NETWORKS: dict[str, tuple[type, Callable[[Any], Network]]] = {
    'similarity': (EncoderConfig, SphericalEncoder),
    'regressor': (RegressorConfig, PoseRegressor),
    'agnostic_regressor': (AgnosticConfig, AgnosticRegressor),
}
"""Settings and network of each kind in `card.KINDS`."""
assert set(NETWORKS) == set(KINDS)


def build(kind: str, settings: dict[str, Any]) -> Network:
    """Return a network with random weights.

    Raises:
        ConfigError: the kind is unknown, or a setting is unknown or out of range.
    """
    if kind not in NETWORKS:
        raise ConfigError(
            ErrorCode.CONFIG_INVALID, f'network {kind!r} is none of {", ".join(NETWORKS)}'
        )
    config, network = NETWORKS[kind]
    return network(from_plain(config, settings))


def kind_of(network: nn.Module) -> str:
    """Return the name of a network's kind."""
    return next(kind for kind, (_, built) in NETWORKS.items() if type(network) is built)


def settings_of(network: Network) -> dict[str, Any]:
    """Return what `build` needs to make such a network again."""
    return asdict(network.config)
