"""A CT from one file: NIfTI, NRRD, MetaImage."""

import hashlib
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Shaped

from sph_reg_ros.errors import CTError, ErrorCode
from sph_reg_ros.imaging.ct.hounsfield import Empty, HounsfieldStack
from sph_reg_ros.imaging.ct.meta_image import read_meta_image
from sph_reg_ros.imaging.ct.nrrd import read_nrrd
from sph_reg_ros.imaging.ct.stored_volume import StoredVolume, damaged
from sph_reg_ros.imaging.ct.volume import CT


def load_volume_file(path: Path, *, assume_lps: bool = False, empty: Empty = np.empty) -> CT:
    """Read a volume.

    Args:
        path: file with a suffix of READERS.
        assume_lps: see ct.load_ct.
        empty: reserves memory for the voxels.

    Raises:
        CTError: the file is damaged, is no scalar 3D volume, its geometry cannot be trusted, or it
            does not fit in memory.
    """
    suffix = volume_suffix(path)
    if suffix is None:
        raise damaged()
    try:
        found = READERS[suffix](path, assume_lps)
        stack = HounsfieldStack(found.shape, empty)
        for k, values in enumerate(found.slices()):
            stack.put(k, values)
    except (OSError, EOFError, ValueError, KeyError, zlib.error, OverflowError):
        raise damaged() from None
    except MemoryError:
        raise CTError(
            ErrorCode.CT_UNREADABLE, 'the CT does not fit in memory: crop or resample it'
        ) from None
    return CT(
        stack.volume,
        found.ct_from_index,
        volume_hash(stack.volume, found.ct_from_index),
        assumptions=found.assumptions,
    )


def _read_nifti(path: Path, assume_lps: bool) -> StoredVolume:
    # Imported lazily: nibabel takes as long as many a volume to read.
    try:
        from sph_reg_ros.imaging.ct.nifti import read_nifti
    except ModuleNotFoundError:
        raise CTError(
            ErrorCode.CT_UNREADABLE,
            'NIfTI is read by nibabel, which is not installed: pip install nibabel',
        ) from None
    return read_nifti(path, assume_lps)


READERS: dict[str, Callable[[Path, bool], StoredVolume]] = {
    '.nii': _read_nifti,
    '.nii.gz': _read_nifti,
    '.nrrd': read_nrrd,
    '.nhdr': read_nrrd,
    '.mha': read_meta_image,
    '.mhd': read_meta_image,
}


def volume_suffix(path: Path) -> str | None:
    """Return the suffix of a volume file that can be read, None for any other name."""
    name = path.name.lower()
    return next((suffix for suffix in READERS if name.endswith(suffix)), None)


def volume_hash(
    hounsfield: Shaped[np.ndarray, 'K J I'], ct_from_index: Float64[np.ndarray, '4 4']
) -> str:
    """Return 16 hex digits that name a volume without a UID: SHA-256 of type, size, affine, voxels.

    The affine is rounded to 1e-6 mm, so that it does not depend on the last bits of a header.
    """
    digest = hashlib.sha256(f'{hounsfield.dtype.str} {hounsfield.shape}'.encode())
    # Adding zero turns -0.0 into 0.0, which has other bytes.
    digest.update((np.round(ct_from_index, 6) + 0.0).tobytes())
    for plane in hounsfield:
        digest.update(np.ascontiguousarray(plane).data)
    return digest.hexdigest()[:16]
