"""Settings of a registration on the command line; names, ranges and help are those of the node."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import typer

from sph_reg_ros.errors import ConfigError, ErrorCode
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.service.parameters import RegistrationParameters
from sph_reg_ros.settings import Spec, build, specs

SPECS = specs(RegistrationParameters)
PANEL = 'Settings of the registration'
_ENDLESS = 'timeout'
"""The one setting without which there is no limit here, as nobody waits for a tf2 transform."""


@dataclass(frozen=True)
class Settings:
    """How to register, how many seconds that may take, None for no limit, and for which target."""

    config: RegistrationConfig = field(default_factory=RegistrationConfig)
    timeout_s: float | None = None
    target: str = ''


def setting(name: str, metavar: str, panel: str = PANEL) -> Any:
    """Return the option of a setting; its name is the setting's, with dashes."""
    spec = SPECS[name]
    choices = f' One of {", ".join(spec.choices)}.' if spec.choices else ''
    text = f'{_sentence(spec.description)}{choices} If absent: {_default_text(spec)}.'
    return typer.Option(
        f'--{name.replace("_", "-")}', metavar=metavar, help=text, rich_help_panel=panel
    )


def read_settings(path: Path | None, given: Mapping[str, Any]) -> Settings:
    """Return the defaults, over them a file, over that single settings.

    Args:
        path: YAML with settings by name, or the node's parameters, of which those below
            `registration` count.
        given: settings by name; None: not given. A text of numbers and commas is a list.

    Raises:
        ConfigError: the file cannot be read, or a setting is unknown or out of range.
    """
    values: dict[str, Any] = {}
    if path is not None:
        try:
            values = _file_values(path)
            build(values, RegistrationParameters)
        except ConfigError as error:
            raise ConfigError(error.code, f'{path.name}: {error}') from None
    values |= {name: _as_given(name, value) for name, value in given.items() if value is not None}
    parameters = build(values, RegistrationParameters)
    timeout_s = parameters.timeout if _ENDLESS in values else None
    return Settings(parameters.config, timeout_s, parameters.target)


def _file_values(path: Path) -> dict[str, Any]:
    # Imported lazily: torch takes seconds.
    from sph_reg_ros.cli.matrix_file import read_mapping

    try:
        content = read_mapping(path)
    except OSError as error:
        raise _invalid(f'it cannot be read: {error.strerror}') from None
    except ValueError as error:
        raise _invalid(f'{error}; see config/registration.yaml') from None
    if any(isinstance(node, dict) and 'ros__parameters' in node for node in content.values()):
        return _node_values(path)
    section = content.get('registration', content)
    if section is not content and len(content) > 1 or not isinstance(section, dict):
        raise _invalid('it must hold settings, or the section registration alone')
    return section


def _node_values(path: Path) -> dict[str, Any]:
    # Imported lazily: it takes a while.
    from sph_reg_ros.replay.params_file import read_parameters

    return asdict(read_parameters(path).registration)


def _as_given(name: str, value: Any) -> Any:
    if not (isinstance(value, str) and isinstance(SPECS[name].default, tuple)):
        return value
    try:
        return tuple(int(number) for number in value.split(','))
    except ValueError:
        raise _invalid(f'{name} must be whole numbers with commas, not {value!r}') from None


def _sentence(text: str) -> str:
    return f'{text[:1].upper()}{text[1:].rstrip(".")}.'


def _default_text(spec: Spec) -> str:
    if spec.name == _ENDLESS:
        return 'no limit'
    value = spec.default
    return ','.join(map(str, value)) if isinstance(value, tuple) else str(value)


def _invalid(reason: str) -> ConfigError:
    return ConfigError(ErrorCode.CONFIG_INVALID, reason)
