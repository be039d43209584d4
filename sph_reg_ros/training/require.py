"""One line for what a setting must be."""

from sph_reg_ros.errors import ConfigError, ErrorCode


def require(condition: bool, message: str) -> None:
    """Raise ConfigError CONFIG_INVALID unless a condition holds."""
    if not condition:
        raise ConfigError(ErrorCode.CONFIG_INVALID, message)
