"""True poses of a benchmark: a C-arm about a patient, from the front and from the side."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.evaluation.carm import CArmGeometry
from sph_reg_ros.geometry import se3, so3
from sph_reg_ros.geometry.carm import camera_from_ct_for_angles

FIELD_MM = 300.0


def bench_geometry(field_mm: float = FIELD_MM) -> CArmGeometry:
    """Return the imager of the benchmarks, whose square detector shows so many mm of an edge."""
    return CArmGeometry(pixel_pitch_mm=field_mm / 256)


BENCH_GEOMETRY = bench_geometry()
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


@dataclass(frozen=True)
class AllAround:
    """True poses from everywhere a C-arm reaches, however its image is displayed.

    The primary angle is any; the patient may lie prone, or the beam come from behind. The secondary
    angle is limited more from the side than from the front, as the table is in the way. Two of
    three displays are turned by quarters, by 0 to 270 degrees, the third by any angle.

    Attributes:
        frontal_secondary_deg: largest secondary angle at primary 0 or 180 degrees.
        lateral_secondary_deg: the same at +-90 degrees.
        jitter_mm: largest shift of the isocentre along each axis of the CT.
        depth_jitter_mm: largest deviation of its distance from the source.
        seed: of all poses.
    """

    frontal_secondary_deg: float = 45.0
    lateral_secondary_deg: float = 25.0
    jitter_mm: float = 20.0
    depth_jitter_mm: float = 50.0
    seed: int = 0

    def camera_from_ct(
        self, index: int, centre_mm: Float64[Tensor, '3'], source_to_isocentre_mm: float = 700.0
    ) -> Float64[Tensor, '4 4']:
        """Return pose number `index`; see Viewpoints."""
        generator = np.random.default_rng([self.seed, index])
        primary = generator.uniform(-math.pi, math.pi)
        frontal = math.cos(primary) ** 2
        most_deg = frontal * self.frontal_secondary_deg
        most_deg += (1 - frontal) * self.lateral_secondary_deg
        secondary = math.radians(generator.uniform(-most_deg, most_deg))
        jitter = torch.from_numpy(generator.uniform(-self.jitter_mm, self.jitter_mm, 3))
        depth_mm = generator.uniform(-self.depth_jitter_mm, self.depth_jitter_mm)
        pose = camera_from_ct_for_angles(
            primary, secondary, source_to_isocentre_mm + depth_mm, centre_mm + jitter
        )
        any_turn, quarters = generator.uniform(-math.pi, math.pi), generator.integers(4)
        turn = any_turn if index % 3 == 2 else quarters * math.pi / 2
        about_beam = torch.tensor([0.0, 0.0, turn], dtype=torch.float64)
        return se3.from_parts(so3.exp(about_beam), torch.zeros(3, dtype=torch.float64)) @ pose
