"""Between a tree of frozen dataclasses and flat parameter names; no ROS here."""

import dataclasses
import difflib
import functools
import inspect
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar, get_type_hints

from sph_reg_ros.errors import ConfigError, ErrorCode

T = TypeVar('T')
Value = bool | int | float | str | tuple[Any, ...]


@dataclass(frozen=True)
class Spec:
    """One flat parameter: what ROS is told of it.

    Attributes:
        name: dotted name.
        default: value, a tuple for arrays.
        description: one line.
        low: smallest number allowed, None if unbounded.
        high: largest number allowed.
        choices: texts allowed, any if empty.
        fixed_while: see parameters.FixedWhile.
    """

    name: str
    default: Value
    description: str = ''
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    fixed_while: str = ''

    def taken(self, value: Any) -> Any:
        """Return a value as it was meant: 1 for 1.0, also in arrays, and true for the text 'true'.

        YAML and `ros2 param set` make an integer of what a person writes for a whole number, and a
        bool of the word true. All other values are returned as they are.
        """
        if isinstance(self.default, tuple) and isinstance(value, tuple):
            floats = _element_type(self.default) is float
            return tuple(map(_as_float, value)) if floats else value
        if isinstance(self.default, float):
            return _as_float(value)
        if type(value) is bool and isinstance(self.default, str):
            word = str(value).lower()
            return word if word in self.choices else value
        return value

    def check(self, value: Value) -> None:
        """Raise ConfigError if the value has the wrong type or is out of range."""
        if type(value) is not type(self.default):
            expected, got = type(self.default).__name__, type(value).__name__
            raise self._error(f'must be {expected}, not {got}')
        numbers = value if isinstance(value, tuple) else (value,)
        if isinstance(self.default, tuple):
            expected_type = _element_type(self.default)
            if any(type(number) is not expected_type for number in numbers):
                raise self._error(f'must hold {expected_type.__name__} only')
        if any(isinstance(number, float) and not math.isfinite(number) for number in numbers):
            raise self._error('must be finite')
        low, high = self.low, self.high
        if (
            isinstance(value, int | float)
            and low is not None
            and high is not None
            and not low <= value <= high
        ):
            raise self._error(f'must lie in [{low:g}, {high:g}], not be {value:g}')
        if self.choices and value not in self.choices:
            raise self._error(f'must be one of {", ".join(self.choices)}, not {value!r}')

    def _error(self, reason: str) -> ConfigError:
        return ConfigError(ErrorCode.CONFIG_INVALID, f'{self.name} {reason}')


def specs(tree: type) -> Mapping[str, Spec]:
    """Return every parameter of a tree by its dotted name, in the tree's order."""
    return _known_specs(tree)


def build(values: Mapping[str, Value], tree: type[T]) -> T:
    """Return the tree with these values as they were meant, and defaults for the rest.

    Raises:
        ConfigError: a name is unknown, or a value has the wrong type or is out of range.
    """
    known, meant = specs(tree), {}
    for name, value in values.items():
        if name not in known:
            raise ConfigError(ErrorCode.CONFIG_INVALID, unknown_message(name, list(known)))
        meant[name] = known[name].taken(value)
        known[name].check(meant[name])
    return _build(tree, '', meant)


def unknown_message(name: str, known: list[str]) -> str:
    """Return a text that names an unknown parameter and the one that was probably meant."""
    last = name.split('.')[-1]
    near = [other for other in known if other.split('.')[-1] == last]
    near = near or difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    hint = f'did you mean {near[0]!r}?' if near else 'see the files in config/'
    return f'unknown parameter {name!r}: {hint}'


def _element_type(values: tuple[Any, ...]) -> type:
    assert values, 'the default of an array must show the type of its elements'
    return type(values[0])


def _as_float(value: Any) -> Any:
    try:
        return float(value) if type(value) is int else value
    # More digits than a float can have: refused as an int.
    except OverflowError:
        return value


# Looking at a class again and again would cost milliseconds with every change.
@functools.cache
def _known_specs(tree: type) -> Mapping[str, Spec]:
    return MappingProxyType({spec.name: spec for spec in _specs(tree, '')})


@functools.cache
def _known_hints(tree: type) -> Mapping[str, Any]:
    return get_type_hints(tree)


def _hints(tree: type) -> Mapping[str, Any]:
    return _known_hints(tree)


def _specs(tree: type, prefix: str) -> Iterator[Spec]:
    hints, documented = _hints(tree), _documented_attributes(tree)
    for field in dataclasses.fields(tree):
        if dataclasses.is_dataclass(hints[field.name]):
            yield from _specs(hints[field.name], prefix + _group(field))
        else:
            details = dict(field.metadata)
            details.setdefault('description', documented.get(field.name, ''))
            assert field.default is not dataclasses.MISSING, f'{field.name} needs a default'
            yield Spec(prefix + field.name, field.default, **details)


def _build(tree: type[T], prefix: str, values: Mapping[str, Value]) -> T:
    hints, arguments = _hints(tree), {}
    for field in dataclasses.fields(tree):  # type: ignore[arg-type]
        if dataclasses.is_dataclass(hints[field.name]):
            arguments[field.name] = _build(hints[field.name], prefix + _group(field), values)
        elif prefix + field.name in values:
            arguments[field.name] = values[prefix + field.name]
    return tree(**arguments)


def _group(field: dataclasses.Field) -> str:
    return '' if field.metadata.get('inline') else field.name + '.'


def _documented_attributes(tree: type) -> dict[str, str]:
    """Return the texts of a Google style 'Attributes:' section by attribute."""
    _, _, section = (inspect.getdoc(tree) or '').partition('Attributes:\n')
    entries = re.findall(r'^ {4}(\w+): (.*(?:\n {8}.*)*)', section, re.MULTILINE)
    return {name: ' '.join(text.split()) for name, text in entries}
