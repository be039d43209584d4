"""Training of the pose regressor."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from sph_reg_ros.geometry.box import TRUNK_HALF_SIZE_MM, landmark_grid, mean_distance_mm
from sph_reg_ros.geometry.geodesics import (
    centre_geodesic_mm,
    double_geodesic_mm,
    rotation_angle_rad,
)
from sph_reg_ros.networks.agnostic import AgnosticRegressor, camera_from_ct
from sph_reg_ros.networks.regressor import PoseRegressor
from sph_reg_ros.rendering.render import render
from sph_reg_ros.training.config import RegressorLoss, RegressorSettings
from sph_reg_ros.training.data import SeedKey, XRayGenerator, XRays
from sph_reg_ros.training.losses import image_loss
from sph_reg_ros.training.schedule import Schedule
from sph_reg_ros.training.stopwatch import Stopwatch
from sph_reg_ros.training.task import LOSS, Losses

Regressor = PoseRegressor | AgnosticRegressor

_EPS_MM = 0.01
_NEAR_MM = 10.0


class RegressorModule(nn.Module):
    """Pose errors and, if they count, image errors of a batch."""

    def __init__(
        self, network: Regressor, loss: RegressorLoss, sdd_mm: float, generator: XRayGenerator
    ):
        """Take the network and what makes its X-rays."""
        super().__init__()
        self.network = network
        self._loss, self._sdd_mm, self._generator = loss, sdd_mm, generator

    def forward(self, batch: XRays) -> Losses:
        """Return the mean losses of a batch."""
        found = found_poses(self.network, batch, self._generator)
        truth = batch.camera_from_ct.to(found)
        parts = {'geodesic_mm': self._geodesic_mm(found, truth, batch.subject).mean()}
        loss = self._loss.pose * parts['geodesic_mm']
        if self._loss.image > 0:
            parts['image'] = self._image(found, batch)
            loss = loss + self._loss.image * parts['image']
        return {LOSS: loss, **parts}

    def _geodesic_mm(self, found: Tensor, truth: Tensor, subject: int) -> Tensor:
        if self._loss.geodesic == 'double':
            return double_geodesic_mm(found, truth, self._sdd_mm, _EPS_MM)
        centre_mm = self._generator.subjects[subject].centre_mm.to(found)
        return centre_geodesic_mm(found, truth, centre_mm, self._loss.length_mm, _EPS_MM)

    def _image(self, found: Tensor, batch: XRays) -> Tensor:
        volume = self._generator.subjects[batch.subject].volumes[0]
        camera = self._generator.camera
        return image_loss(render(volume, found, camera.K, camera.size), batch.clean).mean()


@dataclass(frozen=True, eq=False)
class RegressorTask:
    """A regressor of one CT, or of any if it is trained on several.

    Attributes:
        settings: network, loss and schedule.
        generator: makes its X-rays.
        sdd_mm: from source to detector.
        start: what the network begins with; None: random weights.
    """

    settings: RegressorSettings
    generator: XRayGenerator
    sdd_mm: float
    start: PoseRegressor | None = None

    @property
    def schedule(self) -> Schedule:
        """Return for how long and how fast it learns."""
        return self.settings.schedule

    @property
    def stopwatch(self) -> Stopwatch:
        """Return what measures where the time goes."""
        return self.generator.stopwatch

    @cached_property
    def network(self) -> Regressor:
        """Return the network."""
        subject, prior = self.generator.subjects[0], self.generator.prior
        if subject.cube is not None:
            origin = torch.zeros(3, dtype=torch.float64)
            return AgnosticRegressor(self.settings.agnostic_network, prior.nominal(origin))
        nominal = prior.nominal(subject.centre_mm)
        network = PoseRegressor(self.settings.network, nominal, subject.centre_mm)
        if self.start is not None:
            network.begin_with(self.start)
        return network

    @cached_property
    def module(self) -> RegressorModule:
        """Return what makes losses of batches."""
        return RegressorModule(self.network, self.settings.loss, self.sdd_mm, self.generator)

    @property
    def pretrained(self) -> Sequence[nn.Parameter]:
        """Return none: all weights learn at the same rate."""
        return ()

    def batch(self, count: int, seed_key: SeedKey, wait: bool = False) -> XRays:
        """Return X-rays."""
        return self.generator.xrays(count, seed_key, wait)

    def held_out(self, count: int, seed_key: SeedKey) -> XRays:
        """Return X-rays to measure with."""
        return self.batch(count, seed_key)

    @torch.no_grad()
    def measure(self, batches: Sequence[XRays]) -> dict[str, float]:
        """Return errors of found poses; mtre_mm is that of a box of points about the middle."""
        errors_mm, angles_deg = [], []
        for batch in batches:
            found = found_poses(self.network, batch, self.generator).cpu()
            truth = batch.camera_from_ct
            centre_mm = self.generator.subjects[batch.subject].centre_mm.cpu()
            points = landmark_grid(centre_mm, TRUNK_HALF_SIZE_MM)
            errors_mm.append(mean_distance_mm(found, truth, points))
            angles_deg.append(torch.rad2deg(rotation_angle_rad(found, truth)))
        errors, angles = torch.cat(errors_mm), torch.cat(angles_deg)
        return {
            'median_mtre_mm': float(errors.quantile(0.5)),
            'p90_mtre_mm': float(errors.quantile(0.9)),
            'median_rotation_deg': float(angles.quantile(0.5)),
            'share_below_10_mm': float((errors < _NEAR_MM).double().mean()),
        }


def found_poses(
    network: Regressor, batch: XRays, generator: XRayGenerator
) -> Float64[Tensor, 'B 4 4']:
    """Return camera_from_ct as the network sees it."""
    if isinstance(network, PoseRegressor):
        return network(batch.images)
    subject = generator.subjects[batch.subject]
    assert subject.cube is not None
    cubes = subject.cube.expand(len(batch.images), 1, -1, -1, -1)
    found = network(batch.images, cubes)
    return camera_from_ct(found, subject.centre_mm.to(found))
