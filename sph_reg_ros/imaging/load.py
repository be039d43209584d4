"""The readers of CTs, with all parsing in a child process; isolated_xray has that of X-rays."""

from contextlib import suppress
from pathlib import Path

import numpy as np

from sph_reg_ros.errors import CTError, ErrorCode
from sph_reg_ros.imaging.ct.read import CT, SeriesInfo, require_exists, require_volume_file
from sph_reg_ros.imaging.dicom.files import files_of
from sph_reg_ros.imaging.sandbox.child_process import (
    GIBIBYTE,
    ChildError,
    Limits,
    Report,
    run_child,
)


def load_ct(path: Path, *, series_uid: str | None = None, assume_lps: bool = False) -> CT:
    """Read a CT as ct.load_ct does, by a child process.

    Raises:
        CTError: as from ct.load_ct; CT_UNREADABLE also if the child crashed or took too long.
    """
    path = require_exists(path)
    if path.is_dir():
        report = _read_folder('load_ct', path, series_uid=series_uid)
    else:
        require_volume_file(path)
        # How much a file unpacks to is not known before it is read.
        limits = Limits.for_input(path.stat().st_size, 1, base_bytes=16 * GIBIBYTE, base_s=60)
        report = _read('load_volume_file', path, limits, assume_lps=assume_lps)
    ct_from_index, hounsfield = report.arrays
    values = report.values | {'assumptions': tuple(report.values['assumptions'])}
    return CT(hounsfield, np.array(ct_from_index), **values)


def list_series(path: Path) -> list[SeriesInfo]:
    """List the series of a folder as ct.list_series does, by a child process.

    Raises:
        CTError: as from ct.list_series; CT_UNREADABLE also if the child crashed or took too long.
    """
    path = require_exists(path)
    if not path.is_dir():
        return []
    return [SeriesInfo(**info) for info in _read_folder('list_series', path).values['series']]


def _read_folder(task: str, folder: Path, **arguments: str | None) -> Report:
    sizes = file_sizes(folder)
    limits = Limits.for_input(sum(sizes), len(sizes), base_bytes=2 * GIBIBYTE)
    return _read(task, folder, limits, **arguments)


def _read(task: str, path: Path, limits: Limits, **arguments: str | bool | None) -> Report:
    try:
        return run_child(task, {'path': str(path.absolute()), **arguments}, limits)
    except ChildError as error:
        raise CTError(
            ErrorCode.CT_UNREADABLE, f'the CT cannot be read: {error}: export it again'
        ) from None


def file_sizes(folder: Path) -> list[int]:
    """Return the sizes (bytes) of the files that are looked at; raises CTError."""
    sizes = []
    try:
        for path in files_of(folder):
            with suppress(OSError):
                sizes.append(path.stat().st_size)
    except OSError as error:
        raise CTError(
            ErrorCode.CT_UNREADABLE, f'the folder cannot be read: {error.strerror}'
        ) from None
    return sizes
