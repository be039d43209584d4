"""NIfTI-1 and NIfTI-2 headers, by nibabel; what a registration must not believe is refused here."""

import gzip
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from sph_reg_ros.errors import CTError, ErrorCode
from sph_reg_ros.imaging.ct.stored_volume import (
    ASSUMED_LPS,
    GZIP_MARK,
    Packed,
    StoredVolume,
    damaged,
    lps_affine,
    no_orientation,
    not_scalar,
)
from sph_reg_ros.imaging.ct.volume import require_grid, require_volume_shape

FORMS_TOLERANCE_MM = 1.0
"""Largest distance between two places of a corner; a single-precision quaternion costs 0.2."""
LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
TEMPLATE_CODES = (3, 4)
"""Talairach and MNI: an atlas, whose size is not the patient's."""
IN_TEMPLATE = (
    'sform of the NIfTI header leads to an atlas (Talairach, MNI), and qform to nothing: if the CT '
    'was scaled to that, every distance is wrong'
)
MM_PER_UNIT = {1: 1000.0, 3: 0.001}
NIFTI2_SIZE = 540

Header = Nifti1Header | Nifti2Header


def read_nifti(path: Path, assume_lps: bool) -> StoredVolume:
    """Read the header of a .nii or .nii.gz file.

    Args:
        path: file.
        assume_lps: take the axes of a file without orientation for LPS.

    Raises:
        CTError: as from load_ct.
        OSError, EOFError, ValueError: no such header.
    """
    try:
        return _read(path, assume_lps)
    except (HeaderDataError, WrapStructError):
        raise damaged() from None


def _read(path: Path, assume_lps: bool) -> StoredVolume:
    with path.open('rb') as file:
        packing = 'gzip' if file.read(2) == GZIP_MARK else 'raw'
    header = _header(path, packing)
    sizes = [int(size) for size in header.get_data_shape()]
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes.pop()
    require_volume_shape(tuple(reversed(sizes)))
    dtype = header.get_data_dtype()
    if dtype.fields is not None or dtype.kind == 'c':
        raise not_scalar()
    affine, assumptions = _affine(header, sizes, assume_lps)
    slope, intercept = float(header['scl_slope']), float(header['scl_inter'])
    if slope == 0 or not np.isfinite(slope):
        slope, intercept = 1.0, 0.0  # NIfTI: then there is no scaling
    return StoredVolume(
        (sizes[2], sizes[1], sizes[0]),
        affine,
        Packed(path, 0, packing, dtype, skip=int(header['vox_offset'])),
        slope,
        intercept if np.isfinite(intercept) else 0.0,
        assumptions,
    )


def _header(path: Path, packing: str) -> Header:
    with gzip.open(path) if packing == 'gzip' else path.open('rb') as file:
        raw = file.read(NIFTI2_SIZE)
    kind = Nifti1Header
    # The first field is the header's own size, in the byte order of the file.
    if NIFTI2_SIZE in (int.from_bytes(raw[:4], order) for order in ('little', 'big')):
        kind = Nifti2Header
    header: Header = kind(raw[: kind.sizeof_hdr], check=False)
    if int(header['sizeof_hdr']) != kind.sizeof_hdr or not header['magic'].item().startswith(b'n+'):
        raise damaged()
    return header


def _affine(
    header: Header, sizes: list[int], assume_lps: bool
) -> tuple[Float64[np.ndarray, '4 4'], tuple[str, ...]]:
    """Return index to LPS mm and what had to be assumed.

    Raises:
        CTError: the header gives no orientation, or two that contradict each other.
    """
    unit = MM_PER_UNIT.get(int(header['xyzt_units']) & 7, 1.0)
    # As other readers do: a negative spacing or a first one of 0 is an old habit, and no damage.
    header['pixdim'][1:4] = np.abs(header['pixdim'][1:4])
    header['pixdim'][0] = -1 if header['pixdim'][0] < 0 else 1
    forms = [
        LPS_FROM_RAS @ np.vstack([form[:3] * unit, form[3:]])
        for form in (header.get_sform(coded=True)[0], header.get_qform(coded=True)[0])
        if form is not None
    ]
    if not forms:
        if not assume_lps:
            raise no_orientation('the NIfTI header', 'qform and sform code are 0')
        steps = np.diag(header['pixdim'][1:4].astype(np.float64) * unit)
        return lps_affine(steps, np.zeros(3)), (ASSUMED_LPS,)
    for form in forms:
        require_grid(form)
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in sizes])).reshape(3, -1)
    difference = (forms[0] - forms[-1]) @ np.vstack([corners, np.ones(8)])
    distance_mm = np.linalg.norm(difference, axis=0).max()
    if distance_mm > FORMS_TOLERANCE_MM:
        raise CTError(
            ErrorCode.CT_GEOMETRY,
            f'qform and sform of the NIfTI header disagree (by {distance_mm:.1f} mm): set both to '
            'the one that says where the patient is',
        )
    is_template = int(header['sform_code']) in TEMPLATE_CODES and int(header['qform_code']) == 0
    return forms[0], (IN_TEMPLATE,) if is_template else ()
