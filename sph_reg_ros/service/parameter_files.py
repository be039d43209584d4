"""Reads the values that a ROS parameter file gives to one node.

ROS merges all files into one table for a node. It is read again here, as a shared file (`/**`) may
hold what other nodes need, while a name that is given to this very node must be right.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sph_reg_ros.errors import ConfigError, ErrorCode

_WILDCARDS = {'*': '[^/]+', '**': '.*'}


@dataclass(frozen=True)
class Section:
    """What a file says to the nodes of one pattern.

    Attributes:
        pattern: as in the file, such as `/**`, `/**/registration` or `registration`.
        values: by flat name.
    """

    pattern: str
    values: Mapping[str, Any]

    @property
    def is_shared(self) -> bool:
        """Return whether nodes of any name are meant."""
        return self.pattern.rpartition('/')[2] in _WILDCARDS

    def addresses(self, node: str) -> bool:
        """Return whether a node with this full name, such as `/ns/registration`, is meant."""
        parts = self.pattern.strip('/').split('/')
        pattern = ''.join('/' + _WILDCARDS.get(part, re.escape(part)) for part in parts)
        # `/**/name` also means `/name`.
        return re.fullmatch(pattern.replace('/.*', '(/.*)?'), node) is not None


def sections(path: Path) -> list[Section]:
    """Return the sections of a parameter file, none if it is a YAML file of another kind.

    Raises:
        ConfigError: it cannot be read, or is no YAML.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding='utf-8'))
    except OSError as error:
        raise _invalid(f'{path} cannot be read: {error.strerror}') from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise _invalid(f'{path} is no YAML') from None
    return list(_sections(content, '')) if isinstance(content, dict) else []


def values_for(node: str, path: Path) -> dict[str, Any]:
    """Return what a file says to a node with this full name; raises ConfigError."""
    values: dict[str, Any] = {}
    for section in sections(path):
        if section.addresses(node):
            values |= section.values
    return values


def merely_shared(node: str, arguments: Sequence[str]) -> set[str]:
    """Return the names that a node is given only by files for nodes of any name.

    Args:
        node: its full name.
        arguments: of the process, `--ros-args` with `--params-file PATH` and `-p NAME:=VALUE`.
    """
    shared: set[str] = set()
    own = {_given_name(text) for text in _following(arguments, '-p', '--param')}
    for path in _following(arguments, '--params-file'):
        for section in sections(Path(path)):
            if section.addresses(node):
                (shared if section.is_shared else own).update(section.values)
    return shared - own


def flat(tree: Mapping[Any, Any], prefix: str = '') -> Iterator[tuple[str, Any]]:
    """Yield the values of nested groups by dotted name."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from flat(value, f'{prefix}{name}.')
        else:
            yield f'{prefix}{name}', value


def _sections(tree: Mapping[Any, Any], pattern: str) -> Iterator[Section]:
    for name, inner in tree.items():
        if not isinstance(inner, dict):
            continue
        if name == 'ros__parameters':
            yield Section(pattern, dict(flat(inner)))
        else:
            # Namespaces may be groups of their own: `arm: {registration: {ros__parameters: ...`.
            yield from _sections(inner, f'{pattern}/{name}'.replace('//', '/'))


def _following(arguments: Sequence[str], *flags: str) -> list[str]:
    pairs = zip(arguments, arguments[1:], strict=False)
    return [value for flag, value in pairs if flag in flags]


def _given_name(text: str) -> str:
    # Perhaps with the node's name before it: `registration:ct.path:=/ct`.
    return text.partition(':=')[0].rpartition(':')[2]


def _invalid(reason: str) -> ConfigError:
    return ConfigError(ErrorCode.CONFIG_INVALID, reason)
