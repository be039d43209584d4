"""The CT as the rest of the library sees it: Hounsfield units on a grid in the LPS world."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations

import numpy as np
from jaxtyping import Float64, Shaped

from sph_reg_ros.errors import CTError, ErrorCode
from sph_reg_ros.imaging.ct.hounsfield import hounsfield_doubts

MIN_SAMPLES_PER_AXIS = 2
MAX_AXIS_COSINE = 1e-3
"""Largest cosine between two index axes, about 0.06 degrees; more is a sheared grid."""
EXTENT_MM = (1.0, 5000.0)
"""Shortest and longest of the longest sides of CTs; others are in metres or micrometres."""


@dataclass(frozen=True)
class CT:
    """A CT volume.

    Attributes:
        hounsfield: [K, J, I] int16 or float32 in HU, index i fastest.
        ct_from_index: [4, 4]; maps (i, j, k, 1), voxel centres at integers, to LPS world
            coordinates (mm) of the series. Its determinant may be negative.
        series_uid_hash: 16 hex digits; of the SeriesInstanceUID for DICOM, of voxels and geometry
            for other files.
        patient_hash: 16 hex digits of the PatientID, '' if unknown.
        description: free text of the series, '' if none.
        assumptions: what the file does not say and had to be assumed, a phrase each.
    """

    hounsfield: Shaped[np.ndarray, 'K J I']
    ct_from_index: Float64[np.ndarray, '4 4']
    series_uid_hash: str
    patient_hash: str = ''
    description: str = ''
    assumptions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check values and geometry; raises CTError."""
        require_volume_shape(self.hounsfield.shape)
        if self.hounsfield.dtype not in (np.int16, np.float32):
            raise CTError(
                ErrorCode.CT_UNREADABLE, f'voxels are {self.hounsfield.dtype}, not int16 or float32'
            )
        # Both are NaN if any voxel is.
        if not np.isfinite(self.range_hu).all():
            raise CTError(
                ErrorCode.CT_UNREADABLE, 'the CT has NaN or infinite voxels: export it again'
            )
        require_grid(self.ct_from_index)
        require_body_size(self.hounsfield.shape, self.ct_from_index)

    @cached_property
    def range_hu(self) -> tuple[float, float]:
        """Return the lowest and the highest value."""
        return float(self.hounsfield.min()), float(self.hounsfield.max())

    @cached_property
    def hounsfield_doubts(self) -> tuple[str, ...]:
        """Return why the values may be no Hounsfield units, a phrase each; () if they are."""
        return hounsfield_doubts(self.hounsfield)

    @cached_property
    def content_hash(self) -> str:
        """Return 64 hex digits that tell this CT from others, whatever file it came from.

        SHA-256 of whole Hounsfield units and of the geometry to a micrometre, so that DICOM and a
        NIfTI file written from it agree. The orders of voxels that files use do count.
        """
        digest = hashlib.sha256(repr(self.hounsfield.shape).encode())
        limits = np.iinfo(np.int16)
        for plane in self.hounsfield:
            whole = plane if plane.dtype == np.int16 else np.rint(plane)
            digest.update(whole.clip(limits.min, limits.max).astype('<i2', order='C').data)
        # Adding 0 turns -0 into 0, which has other bytes.
        digest.update((self.ct_from_index.round(3) + 0.0).astype('<f8', order='C').data)
        return digest.hexdigest()

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Return the voxel spacing (mm) along i, j and k."""
        i, j, k = np.linalg.norm(self.ct_from_index[:3, :3], axis=0)
        return float(i), float(j), float(k)

    @property
    def orientation(self) -> str:
        """Return the patient directions that i, j and k increase towards, e.g. 'LPS'."""
        return orientation_letters(self.ct_from_index)


def require_volume_shape(shape: tuple[int, ...]) -> None:
    """Raise CTError unless the array has three axes of at least two samples."""
    if len(shape) > 3:
        raise CTError(
            ErrorCode.CT_GEOMETRY,
            f'the image has {len(shape)} dimensions, not 3: export one volume of the series',
        )
    if len(shape) < 3 or min(shape) < MIN_SAMPLES_PER_AXIS:
        columns_rows_slices = ' x '.join(str(n) for n in reversed(shape))
        raise CTError(
            ErrorCode.CT_TOO_FEW_SLICES,
            f'the volume has {columns_rows_slices} voxels; a CT needs at least '
            f'{MIN_SAMPLES_PER_AXIS} slices: give the whole series',
        )


def require_grid(ct_from_index: Float64[np.ndarray, '4 4']) -> None:
    """Raise CTError unless the affine is finite, invertible and has orthogonal axes."""
    if ct_from_index.shape != (4, 4) or not np.isfinite(ct_from_index).all():
        raise CTError(ErrorCode.CT_GEOMETRY, 'the geometry of the CT has NaN or infinite values')
    if not np.allclose(ct_from_index[3], (0, 0, 0, 1)):
        raise CTError(ErrorCode.CT_GEOMETRY, 'the last row of ct_from_index must be 0 0 0 1')
    spacing = np.linalg.norm(ct_from_index[:3, :3], axis=0)
    if spacing.min() <= 1e-6:
        raise CTError(ErrorCode.CT_GEOMETRY, 'the voxel spacing of the CT is zero')
    axes = ct_from_index[:3, :3] / spacing
    cosine = np.abs(axes.T @ axes - np.eye(3)).max()
    if cosine > MAX_AXIS_COSINE:
        angle = np.degrees(np.arcsin(min(cosine, 1.0)))
        raise CTError(
            ErrorCode.CT_GEOMETRY,
            f'the axes of the CT are {angle:.2f} degrees away from right angles (sheared or tilted '
            'grid): resample it to a rectangular grid first',
        )


def require_body_size(shape: tuple[int, ...], ct_from_index: Float64[np.ndarray, '4 4']) -> None:
    """Raise CTError for a volume [K, J, I] so large or small that its unit is not mm."""
    extent = np.linalg.norm(ct_from_index[:3, :3], axis=0) * shape[::-1]
    shortest, longest = EXTENT_MM
    if not shortest <= extent.max() <= longest:
        size = ' x '.join(f'{mm:.3g}' for mm in extent)
        raise CTError(
            ErrorCode.CT_GEOMETRY,
            f'the CT would be {size} mm large: its lengths are not in the unit that the file says, '
            'or not in millimetres: correct spacing and position',
        )


def orientation_letters(ct_from_index: Float64[np.ndarray, '4 4']) -> str:
    """Return the patient direction that each index axis is nearest to, in the order i, j, k.

    L left, R right, P posterior, A anterior, S superior, I inferior; 'LPS' is an axial CT as DICOM
    stores it. Each of the three directions is taken once, however oblique the axes are.
    """
    axes = ct_from_index[:3, :3] / np.linalg.norm(ct_from_index[:3, :3], axis=0)
    best = max(permutations(range(3)), key=lambda order: sum(abs(axes[order, range(3)])))
    signs = axes[best, range(3)] > 0
    return ''.join(
        ('LPS' if sign else 'RAI')[world] for world, sign in zip(best, signs, strict=True)
    )
