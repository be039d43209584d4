"""A CT from one file: NIfTI, NRRD, MetaImage."""

import hashlib
from pathlib import Path

import numpy as np
import SimpleITK
from jaxtyping import Float64, Shaped

from sph_reg_ros.errors import CTError, ErrorCode
from sph_reg_ros.imaging.hounsfield import HounsfieldStack
from sph_reg_ros.imaging.nifti_checks import require_sound_nifti
from sph_reg_ros.imaging.volume import CT, require_grid, require_volume_shape

READERS = {
    '.nii': 'NiftiImageIO',
    '.nii.gz': 'NiftiImageIO',
    '.nrrd': 'NrrdImageIO',
    '.nhdr': 'NrrdImageIO',
    '.mha': 'MetaImageIO',
    '.mhd': 'MetaImageIO',
}


def volume_suffix(path: Path) -> str | None:
    """Return the suffix of a volume file that can be read, None for any other name."""
    name = path.name.lower()
    return next((suffix for suffix in READERS if name.endswith(suffix)), None)


def load_volume_file(path: Path, suffix: str) -> CT:
    """Read a volume; ITK gives LPS coordinates whatever the file's own convention.

    Raises:
        CTError: the file is damaged, is no scalar 3D volume, or its geometry cannot be trusted.
    """
    warnings_shown = SimpleITK.ProcessObject.GetGlobalWarningDisplay()
    SimpleITK.ProcessObject.GlobalWarningDisplayOff()
    reader = SimpleITK.ImageFileReader()
    reader.SetImageIO(READERS[suffix])
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        require_scalar_volume(reader)
        if suffix.startswith('.nii'):
            require_sound_nifti(path, reader.GetSize(), affine_of(reader))
        image = reader.Execute()
    except RuntimeError as error:
        raise _read_error(error) from None
    finally:
        SimpleITK.ProcessObject.SetGlobalWarningDisplay(warnings_shown)
    stack = HounsfieldStack((image.GetDepth(), image.GetHeight(), image.GetWidth()))
    # A view: the voxels are copied once, slice by slice, into their final type.
    for k, values in enumerate(SimpleITK.GetArrayViewFromImage(image)):
        stack.put(k, values)
    ct_from_index = affine_of(image)
    return CT(stack.volume, ct_from_index, volume_hash(stack.volume, ct_from_index))


def require_scalar_volume(reader: SimpleITK.ImageFileReader) -> None:
    """Raise CTError if the header already shows that the file is no CT volume."""
    require_volume_shape(tuple(reversed(reader.GetSize())))
    if reader.GetNumberOfComponents() != 1:
        raise CTError(
            ErrorCode.CT_UNREADABLE, 'the file holds a colour or vector image: give a CT in HU'
        )
    require_grid(affine_of(reader))


def affine_of(image: SimpleITK.Image | SimpleITK.ImageFileReader) -> Float64[np.ndarray, '4 4']:
    """Return the map from voxel index (i, j, k, 1) to LPS world coordinates (mm)."""
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return affine


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


def _read_error(error: RuntimeError) -> CTError:
    if 'orthonormal' in str(error).lower():
        return CTError(
            ErrorCode.CT_GEOMETRY,
            'the axes of the CT are not at right angles (sheared or tilted grid): resample it to a '
            'rectangular grid first',
        )
    return CTError(
        ErrorCode.CT_UNREADABLE,
        'the file is truncated, damaged or not what its suffix says: export it again',
    )
