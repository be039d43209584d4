"""What ITK's NIfTI reader accepts in silence and a registration must not.

It fills a truncated file up with zeros, replaces NaN by zero (both would be water), and picks one
of two contradicting orientations.
"""

import gzip
import zlib
from io import BufferedIOBase
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from sph_reg_ros.errors import CTError, ErrorCode
from sph_reg_ros.imaging.nifti_header import NiftiHeader, read_nifti_header
from sph_reg_ros.imaging.volume import require_grid

FORMS_TOLERANCE_MM = 1.0
"""Largest distance of a corner from where ITK puts it; a single-precision quaternion costs 0.2."""
RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
CHUNK_BYTES = 1 << 22


def require_sound_nifti(
    path: Path, size: tuple[int, ...], ct_from_index: Float64[np.ndarray, '4 4']
) -> None:
    """Raise CTError if orientation or voxels of a NIfTI file are not what ITK makes of them.

    Args:
        path: .nii or .nii.gz file.
        size: voxels along i, j, k.
        ct_from_index: the affine [4, 4] that ITK took from the header, LPS mm.
    """
    try:
        with gzip.open(path) if path.suffix.lower() == '.gz' else path.open('rb') as file:
            header = read_nifti_header(file)
            require_one_orientation(header, size, ct_from_index)
            file.seek(header.voxel_offset)
            require_voxels(file, header, int(np.prod(size)) * header.voxel_bytes)
    except (OSError, EOFError, ValueError, zlib.error):
        raise _damaged('the file is truncated or damaged') from None


def require_one_orientation(
    header: NiftiHeader, size: tuple[int, ...], ct_from_index: Float64[np.ndarray, '4 4']
) -> None:
    """Raise CTError if the header gives no orientation, or two that contradict each other."""
    forms = {'qform': header.qform, 'sform': header.sform}
    if header.qform is None and header.sform is None:
        raise CTError(
            ErrorCode.CT_GEOMETRY,
            'the NIfTI header does not say how the patient lies (qform and sform code are 0): '
            'convert the CT again from its DICOM series',
        )
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in size])).reshape(3, -1)
    for name, ras_from_index in forms.items():
        if ras_from_index is None:
            continue
        require_grid(ras_from_index)
        difference = ras_from_index - RAS_FROM_LPS @ ct_from_index
        distance_mm = np.linalg.norm(difference @ np.vstack([corners, np.ones(8)]), axis=0).max()
        if distance_mm > FORMS_TOLERANCE_MM:
            raise CTError(
                ErrorCode.CT_GEOMETRY,
                f'qform and sform of the NIfTI header disagree ({name} by {distance_mm:.1f} mm): '
                'set both to the one that says where the patient is',
            )


def require_voxels(file: BufferedIOBase, header: NiftiHeader, remaining: int) -> None:
    """Raise CTError unless that many bytes of voxels follow and are finite."""
    while remaining > 0:
        chunk = file.read(min(CHUNK_BYTES, remaining))
        if len(chunk) < min(CHUNK_BYTES, remaining):
            raise _damaged(f'the file is truncated: {remaining - len(chunk)} bytes are missing')
        if header.float_type and not np.isfinite(np.frombuffer(chunk, header.float_type)).all():
            raise _damaged('the CT has NaN or infinite voxels')
        remaining -= len(chunk)


def _damaged(what: str) -> CTError:
    return CTError(ErrorCode.CT_UNREADABLE, f'{what}: copy or export it again')
