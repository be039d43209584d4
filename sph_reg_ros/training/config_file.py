"""Settings of a training from a YAML file; unknown names and wrong types are refused."""

import typing
from collections.abc import Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from sph_reg_ros.errors import ConfigError, ErrorCode
from sph_reg_ros.networks.settings import settings_from
from sph_reg_ros.training.config import TrainingConfig

T = TypeVar('T')


def read_config(path: Path) -> TrainingConfig:
    """Read a YAML file; what it does not name keeps its default.

    Raises:
        ConfigError: it cannot be read, a name is unknown, or a value has the wrong type or range.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding='utf-8'))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = ' '.join(str(error).split())
        raise ConfigError(ErrorCode.CONFIG_INVALID, f'{path.name}: {reason}') from None
    try:
        return config_from({} if content is None else content)
    except ConfigError as error:
        raise ConfigError(error.code, f'{path.name}: {error}') from None


def config_from(content: Any) -> TrainingConfig:
    """Return settings from plain data, as YAML or JSON hold it; raises ConfigError."""
    return _built(TrainingConfig, content, '')


def _built(kind: type[T], content: Any, where: str) -> T:
    """Build a dataclass whose fields may be dataclasses."""
    if not isinstance(content, Mapping) or not all(isinstance(name, str) for name in content):
        raise ConfigError(ErrorCode.CONFIG_INVALID, f'{where or "the file"} must hold names')
    hints = typing.get_type_hints(kind)
    groups = {name for name, hint in hints.items() if is_dataclass(hint)}
    values = {
        name: _built(hints[name], value, name if not where else f'{where}.{name}')
        if name in groups
        else value
        for name, value in content.items()
    }
    try:
        return settings_from(kind, values)
    except ConfigError as error:
        raise ConfigError(error.code, f'{where}: {error}' if where else str(error)) from None
