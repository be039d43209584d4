"""The X-ray that would tell most of what those at hand leave open."""

import math
from dataclasses import dataclass

from sph_reg_ros.registration.error_parts import ErrorParts


@dataclass(frozen=True)
class SuggestedView:
    """A C-arm angulation, and what is to be expected of an X-ray from there.

    Attributes:
        primary_rad: positioner angles as DICOM defines them (`geometry.carm`), + = LAO.
        secondary_rad: + = cranial.
        turned_rad: angle between its beam and that of the first X-ray.
        bound: 95 % bound on the error with an X-ray from there beside those at hand.
    """

    primary_rad: float
    secondary_rad: float
    turned_rad: float
    bound: ErrorParts

    def __str__(self) -> str:
        """Return a phrase."""
        return (
            f'an X-ray from {self.angles}, {math.degrees(self.turned_rad):.0f} deg from the first, '
            f'would shrink the bound to about {self.bound.total_mm:.1f} mm'
        )

    @property
    def angles(self) -> str:
        """Return the angles as they are said in the theatre."""
        from sph_reg_ros.geometry.carm import format_angles

        return format_angles(self.primary_rad, self.secondary_rad)
