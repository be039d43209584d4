"""Geometry of a stack of slices; what is no regular grid is refused, not interpolated."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from sph_reg_ros.errors import CTError, ErrorCode
from sph_reg_ros.imaging.ct.slice_plane import (
    SlicePlane,
    corners_of,
    difference_in_kind,
    most_common_plane,
)
from sph_reg_ros.imaging.ct.volume import MAX_AXIS_COSINE

GRID_TOLERANCE_MM = 0.1
"""Largest distance of a slice's corner from the grid; some files round positions to 0.1 mm."""
SAME_PLACE_MM = 0.01
"""Slices that are no farther apart lie at the same position."""
GAP_TOLERANCE = 0.01
"""Largest relative difference of the gap between two slices."""


class SliceStack:
    """Slices in the order of their position along the common normal."""

    def __init__(self, planes: Sequence[SlicePlane]) -> None:
        """Sort and check the slices; raises CTError naming slice and millimetre.

        Slices are counted from 1 in the direction of the normal, positions are measured along it.
        """
        if len(planes) < 2:
            raise CTError(
                ErrorCode.CT_TOO_FEW_SLICES,
                f'the series has {len(planes)} slice; a CT needs at least 2: copy all its files',
            )
        self._normal = most_common_plane(planes).normal
        positions = np.array([plane.position @ self._normal for plane in planes])
        self.order: list[int] = np.argsort(positions, kind='stable').tolist()
        self._positions = positions[self.order]
        self._planes = [planes[index] for index in self.order]
        self._require_one_kind()
        self._require_distinct()
        self._require_complete()
        self._require_equal_gaps()
        self.ct_from_index = self._fit_grid()
        # In this order, as one displaced slice also tilts the fitted grid a little.
        self._require_on_grid()
        self._straighten()
        self._require_upright()

    def name(self, k: int) -> str:
        """Return how messages name the slice with index k."""
        return f'slice {k + 1} of {len(self._planes)} at {self._positions[k]:.2f} mm'

    def _require_one_kind(self) -> None:
        reference = most_common_plane(self._planes)
        for k, plane in enumerate(self._planes):
            difference = difference_in_kind(plane, reference)
            if difference:
                raise CTError(
                    ErrorCode.CT_GEOMETRY,
                    f'{self.name(k)} differs from the others in {difference}: remove it, or export '
                    'the series without localizers and reformats',
                )

    def _require_distinct(self) -> None:
        for k in np.flatnonzero(np.diff(self._positions) <= SAME_PLACE_MM).tolist():
            raise CTError(
                ErrorCode.CT_GEOMETRY,
                f'{self.name(k)} and slice {k + 2} lie at the same position: keep one copy, or '
                'one phase of a series with several',
            )

    def _require_complete(self) -> None:
        gaps = np.diff(self._positions)
        usual = _usual_gap(gaps)
        steps = np.rint(gaps / usual)
        whole = np.abs(gaps / usual - steps) < 0.1
        # Of thin slices, rounding alone can make one gap twice as large as another.
        large = gaps - usual > 2 * GRID_TOLERANCE_MM
        missing: list[str] = []
        for k in np.flatnonzero((steps >= 2) & whole & large):
            for n in range(1, int(steps[k])):
                number = k + 1 + len(missing) + 1
                missing.append(f'slice {number} at {self._positions[k] + n * usual:.2f} mm')
        if missing:
            shown = ', '.join(missing[:5]) + (' and more' if len(missing) > 5 else '')
            raise CTError(
                ErrorCode.CT_GEOMETRY,
                f'{len(missing)} missing of {len(self._planes) + len(missing)} slices: {shown} '
                f'(slice distance {usual:.2f} mm): copy the whole series again',
            )

    def _require_equal_gaps(self) -> None:
        gaps = np.diff(self._positions)
        usual = _usual_gap(gaps)
        tolerance = max(GAP_TOLERANCE * usual, 2 * GRID_TOLERANCE_MM)
        for k in np.flatnonzero(np.abs(gaps - usual) > tolerance).tolist():
            raise CTError(
                ErrorCode.CT_GEOMETRY,
                f'{self.name(k)} and slice {k + 2} at {self._positions[k + 1]:.2f} mm are '
                f'{gaps[k]:.3f} mm apart, others {usual:.3f} mm: resample the series to equal '
                'slice distances',
            )

    def _fit_grid(self) -> Float64[np.ndarray, '4 4']:
        """Return the least-squares grid: rounded positions of the end slices must not decide."""
        points = np.array([plane.position for plane in self._planes])
        k = np.arange(len(points)) - (len(points) - 1) / 2
        step = k @ points / (k @ k)
        affine = np.eye(4)
        affine[:3, :2] = most_common_plane(self._planes).pixel_axes
        affine[:3, 2] = step
        affine[:3, 3] = points.mean(axis=0) + k[0] * step
        return affine

    def _straighten(self) -> None:
        """Remove a tilt that the rounding of positions explains, notable in short stacks only."""
        step = self.ct_from_index[:3, 2]
        upright = (step @ self._normal) * self._normal
        if np.linalg.norm(step - upright) * (len(self._planes) - 1) < GRID_TOLERANCE_MM:
            self.ct_from_index[:3, 2] = upright

    def _require_upright(self) -> None:
        step = self.ct_from_index[:3, 2]
        shift_mm = float(np.linalg.norm(np.cross(step, self._normal)))
        sine = shift_mm / float(np.linalg.norm(step))
        if sine > MAX_AXIS_COSINE:
            raise CTError(
                ErrorCode.CT_GEOMETRY,
                f'the gantry was tilted by {np.degrees(np.arcsin(min(sine, 1.0))):.2f} degrees: '
                f'from slice 1 at {self._positions[0]:.2f} mm on, each slice is shifted by '
                f'{shift_mm:.2f} mm against the one before: correct the tilt (resample) first',
            )

    def _require_on_grid(self) -> None:
        rows, columns = self._planes[0].size
        axes, step = self.ct_from_index[:3, :2], self.ct_from_index[:3, 2]
        origins = self.ct_from_index[:3, 3] + np.arange(len(self._planes))[:, None] * step
        errors_mm = [
            np.linalg.norm(plane.corners - corners_of(origin, axes, rows, columns), axis=1).max()
            for plane, origin in zip(self._planes, origins, strict=True)
        ]
        worst = int(np.argmax(errors_mm))
        if errors_mm[worst] > GRID_TOLERANCE_MM:
            raise CTError(
                ErrorCode.CT_GEOMETRY,
                f'{self.name(worst)} lies {errors_mm[worst]:.3f} mm off the regular grid, more '
                f'than {GRID_TOLERANCE_MM} mm: resample the series to a regular grid',
            )


def _usual_gap(gaps: Float64[np.ndarray, ' n']) -> float:
    """Return the lower median, which a missing slice among few cannot raise."""
    return float(np.sort(gaps)[(len(gaps) - 1) // 2])
