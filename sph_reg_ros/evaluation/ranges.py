"""Dataclass fields with ranges, for checks and for declared parameters."""

from dataclasses import field, fields
from typing import Any

from sph_reg_ros.errors import ConfigError, ErrorCode


def ranged(default: float, low: float, high: float) -> Any:
    """Return a dataclass field that must lie in [low, high]."""
    return field(default=default, metadata={'low': low, 'high': high})


def require_ranges(settings: Any) -> None:
    """Raise ConfigError if a `ranged` field of a dataclass lies outside its range or is NaN."""
    for entry in fields(settings):
        low, high = entry.metadata.get('low'), entry.metadata.get('high')
        value = getattr(settings, entry.name)
        if low is not None and not low <= value <= high:
            raise ConfigError(
                ErrorCode.CONFIG_INVALID,
                f'{entry.name} must lie in [{low:g}, {high:g}], not be {value:g}',
            )
