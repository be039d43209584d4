"""What is known of a pose beside the X-rays: that it lies near another one."""

from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.geometry import se3, so3
from sph_reg_ros.geometry.se3 import TWIST_LENGTH_MM
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.similarity import NormalEquations, ResidualBlock, Robust, of_blocks


def search_deviations(config: RegistrationConfig) -> Float64[Tensor, '6']:
    """Return the standard deviations of an initial pose by search_*, as in PosePrior."""
    deviations = [config.search_rotation_rad] * 3
    deviations += [config.search_in_plane_mm] * 2 + [config.search_depth_mm]
    return torch.tensor(deviations, dtype=torch.float64)


@dataclass(frozen=True, eq=False)
class PosePrior:
    """A pose of the first camera and how far the true one may be from it.

    Attributes:
        camera_from_ct: expected pose [4, 4] (mm).
        deviations: standard deviations [6] of rotation (rad) and of the anatomy's centre (mm),
            camera axes.
        weight: similarity that one standard deviation, squared, is worth.
    """

    camera_from_ct: Float64[Tensor, '4 4']
    deviations: Float64[Tensor, '6']
    weight: float

    def squared_distance(
        self, camera_from_ct: Float64[Tensor, '4 4'], centre_mm: Float64[Tensor, '3']
    ) -> float:
        """Return the squared Mahalanobis distance of a pose."""
        return float(
            (self._displacement(camera_from_ct, centre_mm) / self.deviations).square().sum()
        )

    def residuals(
        self, camera_from_ct: Float64[Tensor, '4 4'], centre_mm: Float64[Tensor, '3'], views: int
    ) -> ResidualBlock:
        """Return six residuals; a view's own cost is twice what its similarity lacks to 1.

        Args:
            camera_from_ct: pose of the first camera.
            centre_mm: what twists turn about, CT coordinates.
            views: number of X-rays that are compared.
        """
        displacement = self._displacement(camera_from_ct, centre_mm)
        scale = (2 * views * self.weight) ** 0.5 / self.deviations
        jacobian = torch.block_diag(
            so3.left_jacobian_inverse(displacement[:3]),
            TWIST_LENGTH_MM * torch.eye(3, dtype=torch.float64),
        )
        return ResidualBlock(scale * displacement, scale[:, None] * jacobian, torch.arange(6))

    def normal_equations(
        self,
        camera_from_ct: Float64[Tensor, 'B 4 4'],
        centre_mm: Float64[Tensor, '3'],
        views: int,
        robust: Robust | None = None,
        patches: bool = False,
    ) -> NormalEquations:
        """Return those of the residuals at each pose."""
        blocks = [self.residuals(pose, centre_mm, views) for pose in camera_from_ct]
        return of_blocks(blocks, 6, robust, 6 if patches else 0)

    def _displacement(self, camera_from_ct: Tensor, centre_mm: Tensor) -> Float64[Tensor, '6']:
        here, expected = (
            se3.transform_points(pose, centre_mm[None])[0]
            for pose in (camera_from_ct, self.camera_from_ct)
        )
        turn = so3.log(camera_from_ct[:3, :3] @ self.camera_from_ct[:3, :3].T)
        return torch.cat([turn, here - expected])
