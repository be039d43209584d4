"""A part of an X-ray that shows what has moved by itself since the CT."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class MovedPart:
    """A part of an X-ray that lies off the rendering by itself: what it shows has moved.

    Lengths are those at the depth of the CT's middle; how deep the part lies, and whether it has
    moved along the beam, too, one X-ray does not tell.

    Attributes:
        view: number of the X-ray, from 0.
        box: left, top, right and bottom of it, as shares of the image's width and height.
        centre_lps_mm: its middle in the CT.
        extent_mm: its width and height.
        shift_mm: how far it has moved along the image's columns (to the right) and rows (down).
    """

    view: int
    box: tuple[float, float, float, float]
    centre_lps_mm: tuple[float, float, float]
    extent_mm: tuple[float, float]
    shift_mm: tuple[float, float]

    @property
    def size_mm(self) -> float:
        """Return how far it has moved across the beam."""
        return math.hypot(*self.shift_mm)

    def pixels(self, size: tuple[int, int]) -> tuple[slice, slice]:
        """Return rows and columns of the box in an image of (height, width)."""
        left, top, right, bottom = self.box
        height, width = size
        return (
            slice(round(top * height), round(bottom * height)),
            slice(round(left * width), round(right * width)),
        )
