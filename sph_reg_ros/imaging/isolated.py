"""The readers of CTs, with all parsing of DICOM in a child process; isolated_xray has the other.

Other formats are read here: their readers check every size that a header states before they
believe it.
"""

import os
from contextlib import suppress
from pathlib import Path

import numpy as np

from sph_reg_ros.errors import CTError, ErrorCode
from sph_reg_ros.imaging import ct as in_process
from sph_reg_ros.imaging.child_process import GIBIBYTE, ChildError, Limits, Report, run_child
from sph_reg_ros.imaging.ct import CT, SeriesInfo, require_exists

MAX_FILES = 20_000
"""Entries of a folder; the longest CTs have a few thousand slices."""


def load_ct(path: Path, *, series_uid: str | None = None) -> CT:
    """Read a CT as ct.load_ct does; a folder is read by a child process.

    Raises:
        CTError: as from ct.load_ct; CT_UNREADABLE also if the child crashed or took too long.
    """
    path = require_exists(path)
    if not path.is_dir():
        return in_process.load_ct(path, series_uid=series_uid)
    report = _read_folder('load_ct', path, series_uid=series_uid)
    ct_from_index, hounsfield = report.arrays
    return CT(hounsfield, np.array(ct_from_index), **report.values)


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
    try:
        return run_child(task, {'path': str(folder.absolute()), **arguments}, limits)
    except ChildError as error:
        raise CTError(
            ErrorCode.CT_UNREADABLE, f'the CT cannot be read: {error}: export it again'
        ) from None


def file_sizes(folder: Path) -> list[int]:
    """Return the sizes (bytes) of the files of a folder; raises CTError."""
    sizes = []
    try:
        for number, entry in enumerate(os.scandir(folder), 1):
            if number > MAX_FILES:
                raise CTError(
                    ErrorCode.CT_UNREADABLE,
                    f'the folder has more than {MAX_FILES} entries: give the folder of one series',
                )
            # A loop of links is no file, and no reason to fail.
            with suppress(OSError):
                if entry.is_file():
                    sizes.append(entry.stat().st_size)
    except OSError as error:
        raise CTError(
            ErrorCode.CT_UNREADABLE, f'the folder cannot be read: {error.strerror}'
        ) from None
    return sizes
