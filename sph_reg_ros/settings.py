"""Settings as frozen dataclasses that pydantic checks: one schema for ROS, YAML, options and docs.

Integers are taken for floats and sequences for tuples; everything else must be of its type.
"""

import dataclasses
import difflib
import functools
import inspect
import re
import reprlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

import pydantic.dataclasses
from pydantic import ConfigDict, Field, Strict, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError
from typing_extensions import dataclass_transform

from sph_reg_ros.errors import ConfigError, ErrorCode

T = TypeVar('T')
Value = bool | int | float | str | tuple[Any, ...]
FixedWhile = Literal['', 'active', 'configured', 'running']
"""When a ROS parameter cannot change: never, while active, from configure to cleanup, or always."""
_RULES = ConfigDict(extra='forbid', allow_inf_nan=False)


def parameter(
    default: Any,
    description: str = '',
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    fixed_while: FixedWhile = '',
) -> Any:
    """Return a field of a `settings` class.

    Args:
        default: value if nobody sets one.
        description: one line, with the unit; that of the class's docstring if empty.
        low: smallest number allowed, in an array for each of them.
        high: largest number allowed.
        choices: texts allowed; any if empty.
        fixed_while: when a node cannot change it.
    """
    return dataclasses.field(
        default=default,
        metadata={
            'description': description,
            'low': low,
            'high': high,
            'choices': choices,
            'fixed_while': fixed_while,
        },
    )


@dataclass_transform(frozen_default=True)
def settings(cls: type[T]) -> type[T]:
    """Make a class a frozen dataclass whose constructor checks all values; raises ConfigError."""
    for name, hint in inspect.get_annotations(cls).items():
        cls.__annotations__[name] = _checked_type(hint, vars(cls).get(name))
    if '__post_init__' in vars(cls):
        cls.__post_init__ = _located(cls.__post_init__)  # type: ignore[attr-defined]
    checked = pydantic.dataclasses.dataclass(frozen=True, config=_RULES)(cls)
    checked.__init__ = _reported(checked.__init__)  # type: ignore[method-assign]
    return cast(type[T], checked)


def _checked_type(hint: Any, default: Any) -> Any:
    rules = default.metadata if isinstance(default, dataclasses.Field) else {}
    if rules.get('choices'):
        return Literal[rules['choices']]
    return _strict(hint, Field(ge=rules.get('low'), le=rules.get('high')))


def _strict(hint: Any, bounds: Any) -> Any:
    if get_origin(hint) is tuple:
        return tuple[tuple(_strict(inner, bounds) for inner in get_args(hint))]  # type: ignore[misc]
    return Annotated[hint, Strict(), bounds] if hint in (bool, int, float, str) else hint


def _located(check: Callable[[Any], None]) -> Callable[[Any], None]:
    """Let pydantic add to a ConfigError where the settings that it speaks of are."""

    @functools.wraps(check)
    def located(self: Any) -> None:
        try:
            check(self)
        except ConfigError as error:
            raise PydanticCustomError('config', '{text}', {'text': str(error)}) from None

    return located


def _reported(build: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(build)
    def reported(self: Any, *arguments: Any, **named: Any) -> None:
        try:
            build(self, *arguments, **named)
        except ValidationError as error:
            raise _config_error(error, specs(type(self))) from None

    return reported


def from_plain(kind: type[T], content: Any) -> T:
    """Return settings from nested groups as YAML or JSON hold them.

    Raises:
        ConfigError: a name is unknown, or a value has the wrong type or is out of range.
    """
    try:
        return _adapter(kind).validate_python(content)
    except ValidationError as error:
        raise _config_error(error, specs(kind)) from None


def build(values: Mapping[str, Any], kind: type[T]) -> T:
    """Return settings with these values by dotted name, and defaults for the rest.

    Raises:
        ConfigError: a name is unknown, or a value has the wrong type or is out of range.
    """
    known = specs(kind)
    nested: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            raise ConfigError(ErrorCode.CONFIG_INVALID, unknown_message(name, list(known)))
        *groups, last = name.split('.')
        functools.reduce(lambda inner, group: inner.setdefault(group, {}), groups, nested)[last] = (
            known[name].taken(value)
        )
    return from_plain(kind, nested)


@dataclass(frozen=True)
class Spec:
    """One parameter, flat: what ROS and the command line are told of it.

    Attributes:
        name: dotted name.
        default: value, a tuple for arrays.
        description: one line.
        low: smallest number allowed, None if unbounded.
        high: largest number allowed.
        choices: texts allowed, any if empty.
        fixed_while: see FixedWhile.
        adapter: checks values.
    """

    name: str
    default: Value
    description: str
    low: float | None
    high: float | None
    choices: tuple[str, ...]
    fixed_while: str
    adapter: TypeAdapter[Any]

    def taken(self, value: Any) -> Any:
        """Return a value as it was meant: 1 for 1.0, true for the text 'true'; raises ConfigError.

        YAML and `ros2 param set` make an integer of what a person writes for a whole number, and a
        bool of the word true.
        """
        word = str(value).lower()
        try:
            return self.adapter.validate_python(word if word in self.choices else value)
        except ValidationError as error:
            raise _config_error(error, {self.name: self}, self.name) from None


def specs(kind: type) -> Mapping[str, Spec]:
    """Return every parameter of a settings class by its dotted name, in the class's order."""
    return _known_specs(kind)


def unknown_message(name: str, known: list[str]) -> str:
    """Return a text that names an unknown parameter and the one that was probably meant."""
    last = name.split('.')[-1]
    near = [other for other in known if other.split('.')[-1] == last]
    near = near or difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    hint = f'did you mean {near[0]!r}?' if near else 'see the files in config/'
    return f'unknown parameter {name!r}: {hint}'


# Looking at a class again and again would cost milliseconds with every change.
@functools.cache
def _known_specs(kind: Any) -> Mapping[str, Spec]:
    return MappingProxyType({spec.name: spec for spec in _specs(kind, '')})


@functools.cache
def _known_adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _adapter(kind: type) -> TypeAdapter[Any]:
    return _known_adapter(kind)


def _specs(kind: Any, prefix: str) -> Iterator[Spec]:
    documented, hints = _documented_attributes(kind), get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        if dataclasses.is_dataclass(field.default):
            yield from _specs(type(field.default), f'{prefix}{field.name}.')
            continue
        details = {'low': None, 'high': None, 'choices': (), 'fixed_while': '', **field.metadata}
        details['description'] = details.get('description') or documented.get(field.name, '')
        adapter = TypeAdapter(hints[field.name], config=_RULES)
        default: Any = field.default
        yield Spec(prefix + field.name, default, adapter=adapter, **details)


def _documented_attributes(kind: type) -> dict[str, str]:
    """Return the texts of Google style 'Attributes:' sections by attribute, of bases too."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        _, _, section = inspect.cleandoc(base.__doc__ or '').partition('Attributes:\n')
        entries = re.findall(r'^ {4}(\w+): (.*(?:\n {8}.*)*)', section, re.MULTILINE)
        found |= {name: ' '.join(text.split()) for name, text in entries}
    return found


def _config_error(
    error: ValidationError, known: Mapping[str, Spec], where: str = ''
) -> ConfigError:
    first = error.errors(include_url=False)[0]
    # Numbers are places in an array.
    name = '.'.join(part for part in (where, *first['loc']) if part and isinstance(part, str))
    kind, text, spec = first['type'], first['msg'], known.get(name)
    if kind == 'unexpected_keyword_argument':
        text = unknown_message(name, list(known))
    elif kind == 'config':
        text = f'{name}: {text}' if name else text
    else:
        rule = re.sub('^(Input|Tuple) should', 'must', text)
        if spec is not None and spec.choices:
            rule = f'must be one of {", ".join(spec.choices)}'
        elif spec is not None and spec.low is not None and spec.high is not None and 'than' in kind:
            rule = f'must lie in [{spec.low:g}, {spec.high:g}]'
        text = f'{name or "this"} {rule}, not {reprlib.repr(first["input"])}'
    return ConfigError(ErrorCode.CONFIG_INVALID, text)
