"""Errors of a pose at the targets, split across the beam and along it.

One X-ray tells where the anatomy is across the beam, hardly how far away it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.geometry import se3, so3
from sph_reg_ros.registration.error_parts import ErrorParts
from sph_reg_ros.registration.view import View


@dataclass(frozen=True, eq=False)
class TargetErrors:
    """What errors of a pose mean at the targets.

    Attributes:
        pose: of the first camera (mm).
        centre: what twists turn about, CT coordinates.
        points: the targets, CT coordinates.
        along: the direction that errors are split by, a unit vector in the first camera's axes.
    """

    pose: Float64[Tensor, '4 4']
    centre: Float64[Tensor, '3']
    points: Float64[Tensor, 'n 3']
    along: Float64[Tensor, '3']

    @classmethod
    def seen_by(
        cls,
        views: Sequence[View],
        pose: Float64[Tensor, '4 4'],
        covariance: Float64[Tensor, '6 6'],
        centre: Float64[Tensor, '3'],
        points: Float64[Tensor, 'n 3'],
    ) -> 'TargetErrors':
        """Split along the beam of one view, the ray from its source through the targets' middle.

        Several views have several beams: there it is the direction in which the targets are known
        worst by the covariance of the pose.
        """
        beam = se3.transform_points(pose, points).mean(0)
        if views[0].camera.scan_depth_mm:
            # The source of a line scan moves along y with the rows.
            beam[1] = 0.0
        errors = cls(pose, centre, points, beam / beam.norm())
        spread = errors._mean_covariance(covariance)
        if len(views) == 1 or not torch.isfinite(spread).all():
            return errors
        return cls(pose, centre, points, torch.linalg.eigh(spread).eigenvectors[:, -1])

    def to(self, other: Float64[Tensor, '4 4']) -> ErrorParts:
        """Return the mean distance of the targets from where another pose takes them."""
        ways = se3.transform_points(other, self.points) - se3.transform_points(
            self.pose, self.points
        )
        depths = ways @ self.along
        across = ways - depths[:, None] * self.along
        sizes = ways.norm(dim=1), across.norm(dim=1), depths.abs()
        return ErrorParts(*(float(size.mean()) for size in sizes))

    def by(self, covariance: Float64[Tensor, '6 6']) -> ErrorParts:
        """Return the rms error of the targets by a covariance of the twist, rad and mm."""
        spread = self._mean_covariance(covariance)
        total, along = spread.trace(), self.along @ spread @ self.along
        variances = torch.stack([total, total - along, along]).clamp(min=0)
        return ErrorParts(*variances.sqrt().tolist())

    def _mean_covariance(self, covariance: Float64[Tensor, '6 6']) -> Float64[Tensor, '3 3']:
        """Return that of a target's position (mm²), mean of all, camera axes."""
        lever = (self.points - self.centre) @ self.pose[:3, :3].T
        motion = torch.cat([-so3.hat(lever), torch.eye(3).double().expand(len(lever), 3, 3)], -1)
        return (motion @ covariance @ motion.mT).mean(0)
