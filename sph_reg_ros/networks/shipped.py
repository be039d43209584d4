"""Folders of networks: the user's and those shipped with the software."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from sph_reg_ros.errors import ErrorCode, WeightsError

_PACKAGE = Path(__file__).resolve().parents[1]
_SHARED = Path('share/sph_reg_ros')


def weights_folders(extra: Path | None = None) -> tuple[Path, ...]:
    """Return the folders in which networks are looked for, in this order; all of them exist.

    Args:
        extra: a folder of the user's, before those that come with the software.

    Raises:
        WeightsError: WEIGHTS_MISSING if the user's folder is not there.
    """
    if extra is not None and not extra.is_dir():
        raise WeightsError(ErrorCode.WEIGHTS_MISSING, f'no such folder with networks: {extra}')
    own = () if extra is None else (extra,)
    found = (path.resolve() for path in (*own, *shipped_folders('models')) if path.is_dir())
    # A development environment links its share/ to the checkout.
    return tuple(dict.fromkeys(found))


def shipped_folders(name: str) -> Iterator[Path]:
    """Return where a checkout, pip and a ROS workspace put a folder of files, there or not."""
    if (_PACKAGE.parent / 'package.xml').is_file():
        yield _PACKAGE.parent / name
    # pip has several schemes (--user, --target, Debian's own): all put share/ above the package.
    prefixes = [*_PACKAGE.parents[:5], Path(sys.prefix)]
    prefixes += map(Path, filter(None, os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)))
    for prefix in prefixes:
        yield prefix / _SHARED / name
