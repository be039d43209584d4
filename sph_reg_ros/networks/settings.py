"""Settings of networks from plain data, such as a card; every name and type is checked."""

import types
import typing
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from sph_reg_ros.errors import ConfigError, ErrorCode

T = TypeVar('T')


def settings_from(kind: type[T], values: Mapping[str, Any]) -> T:
    """Return the dataclass `kind` with the given values; sequences become tuples.

    Raises:
        ConfigError: a name is unknown, or a value has the wrong type or is out of range.
    """
    hints = typing.get_type_hints(kind)
    known = {field.name: hints[field.name] for field in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ConfigError(
            ErrorCode.CONFIG_INVALID,
            f'unknown: {", ".join(unknown)}; known are {", ".join(known)}',
        )
    return kind(**{name: _checked(name, value, known[name]) for name, value in values.items()})


def _checked(name: str, value: Any, hint: Any) -> Any:
    if typing.get_origin(hint) is tuple and isinstance(value, list | tuple):
        value = tuple(value)
    if hint is float and type(value) is int:
        value = float(value)
    if not _fits(value, hint):
        raise ConfigError(ErrorCode.CONFIG_INVALID, f'{name} must be {_said(hint)}, not {value!r}')
    return value


def _fits(value: Any, hint: Any) -> bool:
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, tuple):
            return False
        of_items = typing.get_args(hint)
        if of_items[-1] is Ellipsis:
            of_items = (of_items[0],) * len(value)
        return len(value) == len(of_items) and all(map(_fits, value, of_items))
    # A bool is an int to isinstance, a whole number is a float to everybody else.
    return type(value) is hint or (hint is float and type(value) is int)


def _said(hint: Any) -> str:
    return str(hint) if isinstance(hint, types.GenericAlias) else hint.__name__
