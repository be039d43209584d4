"""Restricts which paths the node reads on request."""

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from sph_reg_ros.errors import ConfigError, ErrorCode

_MAX_ENTRIES = 20_000
"""Of a folder; a reader refuses one that has more."""


class AllowedPaths:
    """Folders below which everything may be read, and single paths that were given at the start."""

    def __init__(self, folders: Iterable[str], given: Iterable[str]) -> None:
        """Note what is allowed.

        Args:
            folders: allowed with all that lies below; '~' is the home folder.
            given: paths of whoever started the node, allowed wherever they lead, relative ones
                too; '~' is the home folder here as well.
        """
        self._folders = [resolved for folder in folders if (resolved := _resolved(folder))]
        self._given = {path for path in given if path}

    def require(self, path: str) -> str:
        """Return where a path leads, links resolved; read that, so that no link can change later.

        Raises:
            ConfigError: PATH_NOT_ALLOWED.
        """
        if path in self._given:
            return os.path.expanduser(path)
        if '://' in path or '\0' in path:
            raise _refusal('it is no path of a file or folder')
        if not Path(path).is_absolute() or '..' in Path(path).parts:
            raise _refusal('give an absolute path without ".."')
        target = _resolved(path)
        if target is None or not self._is_allowed(path):
            raise _refusal('it leads outside of the folders in paths.allowed')
        if any(not self._is_allowed(link) for link in _links_below(target)):
            raise _refusal('a link in it leads outside of the folders in paths.allowed')
        return str(target)

    def is_given(self, path: str) -> bool:
        """Return whether whoever started the node named this path."""
        return path in self._given

    def _is_allowed(self, path: str) -> bool:
        target = _resolved(path)
        # What leads nowhere cannot be read.
        return target is None or any(target.is_relative_to(folder) for folder in self._folders)


def _resolved(path: str) -> Path | None:
    try:
        return Path(path).expanduser().resolve()
    # No home folder, or a loop of links.
    except (OSError, RuntimeError):
        return None


def _links_below(folder: Path) -> Iterator[str]:
    """Yield the links in a folder and its subfolders, as many as a reader looks at."""
    entries = (entry for place, _, _ in os.walk(folder) for entry in os.scandir(place))
    yield from (entry.path for entry in islice(entries, _MAX_ENTRIES) if entry.is_symlink())


def _refusal(reason: str) -> ConfigError:
    # Whether something lies there is not said: that would tell strangers what is on this machine.
    return ConfigError(ErrorCode.PATH_NOT_ALLOWED, f'the path may not be read: {reason}')
