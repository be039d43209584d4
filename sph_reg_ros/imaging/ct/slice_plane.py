"""Where one CT slice lies (DICOM PS3.3 C.7.6.2, image plane module)."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

SAME_PLANE_TOLERANCE = 1e-3
"""Largest difference of direction cosines, and relative difference of pixel spacing."""


@dataclass(frozen=True)
class SlicePlane:
    """Where one slice lies.

    Attributes:
        position: centre [3] of the first pixel, LPS mm (ImagePositionPatient).
        column_step: unit vector [3] along which the column index grows.
        row_step: unit vector [3] along which the row index grows.
        spacing_mm: distance of neighbouring rows, then of neighbouring columns (PixelSpacing).
        size: rows, columns.
    """

    position: Float64[np.ndarray, '3']
    column_step: Float64[np.ndarray, '3']
    row_step: Float64[np.ndarray, '3']
    spacing_mm: tuple[float, float]
    size: tuple[int, int]

    @property
    def normal(self) -> Float64[np.ndarray, '3']:
        """Return the unit vector that completes column and row step to a right-handed system."""
        return np.cross(self.column_step, self.row_step)

    @property
    def pixel_axes(self) -> Float64[np.ndarray, '3 2']:
        """Return the world steps (mm) of one column and of one row."""
        row_mm, column_mm = self.spacing_mm
        return np.stack([self.column_step * column_mm, self.row_step * row_mm], axis=1)

    @property
    def corners(self) -> Float64[np.ndarray, '3 3']:
        """Return the first pixel, the last of the first row, the last of the first column."""
        rows, columns = self.size
        return corners_of(self.position, self.pixel_axes, rows, columns)


def corners_of(
    origin: Float64[np.ndarray, '3'], axes: Float64[np.ndarray, '3 2'], rows: int, columns: int
) -> Float64[np.ndarray, '3 3']:
    """Return three corners (one a row) of a slice that starts at `origin`."""
    return np.stack([origin, origin + axes[:, 0] * (columns - 1), origin + axes[:, 1] * (rows - 1)])


def most_common_plane(planes: Sequence[SlicePlane]) -> SlicePlane:
    """Return a slice of the kind that most slices have, so that the odd ones can be named."""

    def kind(plane: SlicePlane) -> tuple[object, ...]:
        cosines = np.concatenate([plane.column_step, plane.row_step]).round(3) + 0.0
        return plane.size, tuple(np.round(plane.spacing_mm, 3)), tuple(cosines)

    kinds = [kind(plane) for plane in planes]
    winner, _ = Counter(kinds).most_common(1)[0]
    return planes[kinds.index(winner)]


def difference_in_kind(plane: SlicePlane, reference: SlicePlane) -> str:
    """Return what differs between two slices, '' if nothing does."""
    if plane.size != reference.size:
        return f'size ({plane.size[1]} x {plane.size[0]} pixels)'
    if not np.allclose(plane.spacing_mm, reference.spacing_mm, rtol=SAME_PLANE_TOLERANCE, atol=0):
        row_mm, column_mm = plane.spacing_mm
        return f'pixel spacing (rows {row_mm:g} mm, columns {column_mm:g} mm apart)'
    axes, reference_axes = (np.concatenate([p.column_step, p.row_step]) for p in (plane, reference))
    if np.abs(axes - reference_axes).max() > SAME_PLANE_TOLERANCE:
        return 'orientation'
    return ''
