"""Settings of a training from a YAML file; unknown names and wrong types are refused."""

from pathlib import Path

import yaml

from sph_reg_ros.errors import ConfigError, ErrorCode
from sph_reg_ros.settings import from_plain
from sph_reg_ros.training.config import TrainingConfig


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
        return from_plain(TrainingConfig, {} if content is None else content)
    except ConfigError as error:
        raise ConfigError(error.code, f'{path.name}: {error}') from None
