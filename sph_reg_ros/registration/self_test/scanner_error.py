"""How far a pose is from the one that the scanner states."""

import math
from dataclasses import dataclass

from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.geometry import se3, so3

MAX_SHIFT_MM = 2.0
"""Across the beam. A localizer's pixel is about 1 mm, and whether a header means its centre or its
edge is known to half of it."""
MAX_IN_PLANE_DEG, MAX_OUT_OF_PLANE_DEG = 1.0, 3.0
MAX_BEAM_MM = 20.0
"""Only columns magnify, by 1 % for 6 mm; spacing and distance in the header are nominal."""


@dataclass(frozen=True)
class ScannerError:
    """A pose less that of the scanner: shift of the CT's middle and turn, in camera axes.

    Attributes:
        across_mm: along the localizer's columns, across the table.
        along_table_mm: along the table, against the rows or with them.
        along_beam_mm: away from the source. The scanner's distance is nominal.
        in_plane_deg: turn about the beam.
        out_of_plane_deg: size of the turn about the other two axes.
    """

    across_mm: float
    along_table_mm: float
    along_beam_mm: float
    in_plane_deg: float
    out_of_plane_deg: float

    @classmethod
    def between(
        cls,
        camera_from_ct: Float64[Tensor, '4 4'],
        stated: Float64[Tensor, '4 4'],
        centre: Float64[Tensor, '3'],
    ) -> 'ScannerError':
        """Compare a pose with the stated one of a camera (mm); `centre` in CT coordinates."""
        here, there = (
            se3.transform_points(pose, centre.cpu()[None])[0] for pose in (camera_from_ct, stated)
        )
        x, y, z = (here - there).tolist()
        turn = so3.log(camera_from_ct[:3, :3] @ stated[:3, :3].T)
        about_x, about_y, about_z = (math.degrees(angle) for angle in turn.tolist())
        return cls(x, y, z, about_z, math.hypot(about_x, about_y))

    @property
    def agrees(self) -> bool:
        """Return whether both are the same pose, as far as a header can be trusted."""
        return (
            max(abs(self.across_mm), abs(self.along_table_mm)) <= MAX_SHIFT_MM
            and abs(self.along_beam_mm) <= MAX_BEAM_MM
            and abs(self.in_plane_deg) <= MAX_IN_PLANE_DEG
            and self.out_of_plane_deg <= MAX_OUT_OF_PLANE_DEG
        )

    def __str__(self) -> str:
        """Return the figures in words."""
        return (
            f'{abs(self.across_mm):.2f} mm across, {abs(self.along_table_mm):.2f} mm along the '
            f'table, {abs(self.in_plane_deg):.2f} degrees in the image plane, '
            f'{self.out_of_plane_deg:.2f} out of it, {abs(self.along_beam_mm):.1f} mm along the '
            'beam'
        )
