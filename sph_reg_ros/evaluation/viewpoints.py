"""True poses of a benchmark: a C-arm about a patient, from the front and from the side."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.evaluation.carm import CArmGeometry
from sph_reg_ros.geometry.carm import camera_from_ct_for_angles

FIELD_MM = 300.0
BENCH_GEOMETRY = CArmGeometry(pixel_pitch_mm=FIELD_MM / 256)
"""Source to detector 1020 mm, to the isocentre 700 mm, a detector of 300 mm with 256 x 256 px."""


@dataclass(frozen=True)
class Viewpoints:
    """The range of true poses; even numbers look from the front, odd ones from either side.

    Attributes:
        frontal_primary_deg: largest primary angle from the front, to both sides.
        frontal_secondary_deg: largest secondary angle from the front, cranial and caudal.
        lateral_primary_deg: largest deviation of the primary angle from +-90 degrees.
        lateral_secondary_deg: largest secondary angle from the side.
        jitter_mm: largest shift of the isocentre along each axis of the CT.
        seed: of all poses.
    """

    frontal_primary_deg: float = 30.0
    frontal_secondary_deg: float = 25.0
    lateral_primary_deg: float = 15.0
    lateral_secondary_deg: float = 15.0
    jitter_mm: float = 20.0
    seed: int = 0

    def camera_from_ct(
        self, index: int, centre_mm: Float64[Tensor, '3'], source_to_isocentre_mm: float = 700.0
    ) -> Float64[Tensor, '4 4']:
        """Return pose number `index`, whatever other poses are drawn.

        Args:
            index: number of the pose, from 0.
            centre_mm: where the isocentre lies on average, CT coordinates (mm).
            source_to_isocentre_mm: distance of the source.
        """
        generator = np.random.default_rng([self.seed, index])
        primary_deg, secondary_deg = self._angles_deg(index, generator)
        jitter = torch.from_numpy(generator.uniform(-self.jitter_mm, self.jitter_mm, 3))
        return camera_from_ct_for_angles(
            math.radians(primary_deg),
            math.radians(secondary_deg),
            source_to_isocentre_mm,
            centre_mm + jitter,
        )

    def _angles_deg(self, index: int, generator: np.random.Generator) -> tuple[float, float]:
        primary, secondary = generator.uniform(-1.0, 1.0, 2)
        side = generator.choice([-90.0, 90.0])
        if index % 2 == 0:
            return primary * self.frontal_primary_deg, secondary * self.frontal_secondary_deg
        return (
            side + primary * self.lateral_primary_deg,
            secondary * self.lateral_secondary_deg,
        )
