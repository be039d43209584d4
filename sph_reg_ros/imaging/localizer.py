"""A CT study's localizer as an X-ray with a camera and the pose that the scanner states."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64
from torch import Tensor

from sph_reg_ros.geometry import Camera
from sph_reg_ros.imaging.ct.localizer import StoredLocalizer


@dataclass(frozen=True)
class Localizer:
    """A localizer with the scanner's own geometry.

    Attributes:
        line_integrals: [H, W]; scale and offset mean nothing. Rows follow the table.
        usable: [H, W]; not padding.
        camera: a line scan.
        camera_from_ct: [4, 4] (mm), where the scanner says the CT is; the truth of a self-test.
        other_side: the same with the source on the other side of the patient.
        side_known: whether the file says on which side the source was.
        name: what to call it.
        notes: what the file does not say or says in its own way, a sentence each.
    """

    line_integrals: Float32[Tensor, 'H W']
    usable: Bool[Tensor, 'H W']
    camera: Camera
    camera_from_ct: Float64[Tensor, '4 4']
    other_side: 'Localizer | None'
    side_known: bool
    name: str
    notes: tuple[str, ...]

    @classmethod
    def of(cls, stored: StoredLocalizer) -> 'Localizer':
        """Take over a localizer as its file has it."""
        side = stored.source_side or 1
        return _seen_from(stored, side, _seen_from(stored, -side, None))


def _seen_from(stored: StoredLocalizer, side: int, other: Localizer | None) -> Localizer:
    """Return a localizer with its source on one side (StoredLocalizer.source_side)."""
    beam = side * np.cross(stored.column_step, stored.row_step)
    # Against column_step x row_step, the camera's y runs against the rows.
    axes = np.stack([stored.column_step, np.cross(beam, stored.column_step), beam])
    row_mm, column_mm = stored.spacing_mm
    middle_row = (len(stored.pixels) - 1) / 2
    isocentre = (
        stored.position
        + stored.column_step * column_mm * stored.central_column
        + stored.row_step * row_mm * middle_row
    )
    camera_from_ct = np.eye(4)
    camera_from_ct[:3, :3] = axes
    camera_from_ct[:3, 3] = [0.0, 0.0, stored.source_mm] - axes @ isocentre
    downwards = float(np.sign(axes[1] @ stored.row_step))
    K = [
        [stored.source_mm / column_mm, 0.0, stored.central_column],
        [0.0, downwards * stored.source_mm / row_mm, middle_row],
        [0.0, 0.0, 1.0],
    ]
    size = stored.pixels.shape
    camera = Camera(torch.tensor(K, dtype=torch.float64), size[0], size[1], stored.source_mm)
    return Localizer(
        torch.from_numpy(np.array(stored.pixels)),
        torch.from_numpy(np.array(stored.usable)),
        camera,
        torch.from_numpy(camera_from_ct),
        other,
        stored.source_side != 0,
        stored.name,
        stored.notes,
    )
