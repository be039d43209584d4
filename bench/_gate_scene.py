"""What a pose is judged with, and the optimum near it."""

from dataclasses import dataclass

from torch import Tensor

from sph_reg_ros.errors import RegistrationError
from sph_reg_ros.geometry import se3
from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.level import Level
from sph_reg_ros.registration.pyramid import build_level
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.solve import Solver
from sph_reg_ros.registration.view import View


@dataclass(frozen=True)
class Scene:
    """What a pose is judged with: perhaps another CT or another camera than the X-ray was taken of.

    Attributes:
        request: as the registration would have got it.
        levels: its pyramid.
        truth: where the CT would be if it and the camera were right.
    """

    request: RegistrationRequest
    levels: list[Level]
    truth: Tensor

    @classmethod
    def build(
        cls,
        volume: AttenuationVolume,
        view: View,
        truth: Tensor,
        start: Tensor,
        config: RegistrationConfig,
    ) -> 'Scene':
        """Build the pyramid."""
        request = RegistrationRequest(volume, (view,), start, config)
        levels = [build_level(request, height, 'numba') for height in config.levels]
        return cls(request, levels, truth)

    def moved(self, twist: Tensor, pose: Tensor | None = None) -> Tensor:
        """Return the truth, or another pose, after a twist (rad, mm) about the CT's middle."""
        start = self.truth if pose is None else pose
        return se3.apply_twist(twist, start, self.request.volume.centre)

    def settled(self, pose: Tensor) -> Tensor | None:
        """Return the optimum that the solver finds from a pose; None if nothing is in view."""
        solve, poses = Solver(self.request.config), pose[None]
        try:
            poses = solve(self.levels[1].coarse_similarity, poses, 1e-3, 8).poses
            for level, reduction in zip(self.levels[2:], (1e-4, 3e-5), strict=True):
                poses = solve(level.reweighted(poses[0]), poses, reduction, 10).poses
        except RegistrationError:
            return None
        return poses[0]
