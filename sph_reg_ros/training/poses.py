"""Random poses of training: views, and displacements between two poses that are compared."""

import math
from dataclasses import MISSING

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.errors import require_setting
from sph_reg_ros.geometry import se3
from sph_reg_ros.geometry.carm import camera_from_ct_for_angles
from sph_reg_ros.settings import parameter, settings

Range = tuple[float, float]


@settings
class PoseRanges:
    """The views that a C-arm can have; each number is uniform in its range.

    The defaults are those of xvr (arXiv 2503.16309) for frontal views of pelves.

    Attributes:
        primary_deg: positioner primary angle, + = LAO.
        secondary_deg: positioner secondary angle, + = cranial.
        roll_deg: turn of the detector about the beam.
        source_to_isocentre_mm: distance of the source.
        shift_mm: largest shift of the isocentre from the middle of the CT, along each of its axes.
    """

    primary_deg: Range = parameter((-45.0, 45.0), low=-180.0, high=180.0)
    secondary_deg: Range = parameter((-45.0, 45.0), low=-90.0, high=90.0)
    roll_deg: Range = parameter((-15.0, 15.0), low=-180.0, high=180.0)
    source_to_isocentre_mm: Range = parameter((450.0, 1000.0), low=1.0, high=10_000.0)
    shift_mm: tuple[float, float, float] = parameter((150.0, 0.0, 150.0), low=0.0)

    def __post_init__(self) -> None:
        """Check that ranges are in order; raises ConfigError."""
        for name in ('primary_deg', 'secondary_deg', 'roll_deg', 'source_to_isocentre_mm'):
            low, high = getattr(self, name)
            require_setting(low <= high, f'{name} must be two numbers, the first not the larger')

    def nominal(self, centre_mm: Float64[Tensor, '3']) -> Float64[Tensor, '4 4']:
        """Return camera_from_ct in the middle of all ranges."""
        return self._pose(torch.full((7,), 0.5, dtype=torch.float64), centre_mm)

    def draw(
        self, count: int, centre_mm: Float64[Tensor, '3'], generator: torch.Generator
    ) -> Float64[Tensor, 'B 4 4']:
        """Return camera_from_ct of `count` views.

        Args:
            count: B.
            centre_mm: middle of the CT (LPS).
            generator: on the CPU, source of randomness.
        """
        shares = torch.rand(count, 7, generator=generator, dtype=torch.float64)
        return torch.stack([self._pose(row, centre_mm) for row in shares])

    def _pose(
        self, shares: Float64[Tensor, '7'], centre_mm: Float64[Tensor, '3']
    ) -> Float64[Tensor, '4 4']:
        ranges = (
            self.primary_deg,
            self.secondary_deg,
            self.roll_deg,
            self.source_to_isocentre_mm,
            *((-mm, mm) for mm in self.shift_mm),
        )
        low, high = torch.tensor(ranges, dtype=torch.float64).T
        values = low + (high - low) * shares
        primary_rad, secondary_rad, roll_rad = torch.deg2rad(values[:3]).tolist()
        pose = camera_from_ct_for_angles(
            primary_rad, secondary_rad, float(values[3]), centre_mm.cpu() + values[4:]
        )
        roll = torch.zeros(6, dtype=torch.float64)
        roll[2] = roll_rad
        return se3.exp(roll) @ pose


@settings
class Displacement:
    """A normal distribution of rigid motions in camera axes, about the middle of the CT.

    Attributes:
        share: of all motions that are of this kind.
        rotation_deg: standard deviation of each component of the rotation vector.
        in_plane_mm: of the shift along columns and rows.
        depth_mm: of the shift along the beam.
    """

    share: float = parameter(MISSING, low=0.0)
    rotation_deg: float = parameter(MISSING, low=0.0)
    in_plane_mm: float = parameter(MISSING, low=0.0)
    depth_mm: float = parameter(MISSING, low=0.0)

    @property
    def deviations(self) -> tuple[float, ...]:
        """Return those of the twist (omega in rad, v in mm)."""
        rotation_rad = math.radians(self.rotation_deg)
        return (*(rotation_rad,) * 3, *(self.in_plane_mm,) * 2, self.depth_mm)


@settings
class Displacements:
    """How far apart the two poses are that a similarity learns to compare: a mixture.

    Attributes:
        near: as at the end of a registration.
        usual: as a regressor leaves them.
        far: as nothing but bad luck leaves them.
    """

    near: Displacement = Displacement(0.5, 3.0, 5.0, 15.0)
    usual: Displacement = Displacement(0.4, 10.0, 20.0, 60.0)
    far: Displacement = Displacement(0.1, 20.0, 30.0, 60.0)

    def __post_init__(self) -> None:
        """Check that there is anything to draw from; raises ConfigError."""
        require_setting(sum(self._shares) > 0, 'all shares of the displacements are zero')

    @property
    def _shares(self) -> tuple[float, ...]:
        return self.near.share, self.usual.share, self.far.share

    def draw(self, count: int, generator: torch.Generator) -> Float64[Tensor, 'B 6']:
        """Return twists (omega in rad, v in mm).

        Args:
            count: B.
            generator: on the CPU, source of randomness.
        """
        kinds = torch.multinomial(
            torch.tensor(self._shares), count, replacement=True, generator=generator
        )
        widths = torch.tensor(
            [kind.deviations for kind in (self.near, self.usual, self.far)], dtype=torch.float64
        )
        normal = torch.randn(count, 6, generator=generator, dtype=torch.float64)
        return widths[kinds] * normal
