"""Reads the CT that an option names."""

from pathlib import Path

from sph_reg_ros.errors import CTError
from sph_reg_ros.imaging.ct.volume import CT
from sph_reg_ros.imaging.load import load_ct


def read_ct(path: Path, series_uid: str | None = None, *, assume_lps: bool = False) -> CT:
    """Read a CT; errors name its path.

    The library leaves paths out of its messages, as a folder may bear a patient's name and the node
    writes messages to its log; whoever typed the path may see it.

    Raises:
        CTError: as `load_ct` raises it, with the path.
    """
    try:
        return load_ct(path, series_uid=series_uid, assume_lps=assume_lps)
    except CTError as error:
        raise CTError(error.code, f'{path}: {error}') from None
