"""Training of the encoder: distances of features become distances of poses."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sph_reg_ros.geometry import so4
from sph_reg_ros.geometry.geodesics import twist_angles_deg
from sph_reg_ros.networks.encoder import SphericalEncoder
from sph_reg_ros.networks.normalise import normalise
from sph_reg_ros.networks.regressor import PoseRegressor
from sph_reg_ros.similarity.encoded import encoded_residual
from sph_reg_ros.training import losses
from sph_reg_ros.training.config import SimilarityLoss, SimilaritySettings
from sph_reg_ros.training.data import Pairs, SeedKey, XRayGenerator
from sph_reg_ros.training.schedule import Schedule
from sph_reg_ros.training.stopwatch import Stopwatch
from sph_reg_ros.training.task import LOSS, Losses


class Compared(NamedTuple):
    """What the encoder makes of a batch; S = d^2 / 2.

    Attributes:
        fixed: features of the X-rays.
        moving: features of the renderings.
        beside: features of the renderings a small step away.
        shortness: of all quaternions (`heads.Head.shortness`).
        half_squares: S.
        gradient: dS / dxi of the first n.
    """

    fixed: Float[Tensor, 'B *features']
    moving: Float[Tensor, 'B *features']
    beside: Float[Tensor, 'm *features']
    shortness: Float[Tensor, 'B']
    half_squares: Float[Tensor, 'B']
    gradient: Float[Tensor, 'n 6']


class SimilarityModule(nn.Module):
    """Losses of a batch of pairs."""

    def __init__(self, network: SphericalEncoder, loss: SimilarityLoss):
        """Take the network."""
        super().__init__()
        self.network = network
        self._loss = loss

    def forward(self, batch: Pairs) -> Losses:
        """Return the mean losses of a batch."""
        compared = compare(self.network, batch)
        weights = {name: weight for name, weight in vars(self._loss).items() if name in self._parts}
        parts = {
            name: self._parts[name](self, compared, batch).mean()
            for name, weight in weights.items()
            if weight > 0
        }
        total = torch.stack([weights[name] * value for name, value in parts.items()]).sum()
        return {LOSS: total, **parts}

    def _value(self, compared: Compared, batch: Pairs) -> Tensor:
        true_mm = losses.MM_PER_DISTANCE * batch.true_residual.norm(dim=-1)
        return losses.value_loss(2 * compared.half_squares, true_mm, self._loss.unit_mm)

    def _all_pairs(self, compared: Compared, batch: Pairs) -> Tensor:
        # Each rendering with all X-rays of its batch.
        learned_sq = self.network.head.squared_distance(compared.moving[:, None], compared.fixed)
        true_sq = so4.squared_distance(batch.moving_poses[:, None], batch.fixed_poses)
        return losses.ratio_loss(learned_sq, true_sq, self._loss.unit_mm)

    def _pose(self, compared: Compared, batch: Pairs) -> Tensor:
        features = torch.cat([compared.fixed, compared.moving])
        poses = torch.cat([batch.fixed_poses, batch.moving_poses])
        apart = so4.residual(features, poses[:, None])
        return losses.vector_loss(apart, torch.zeros_like(apart[:, 0]), self._loss.unit_mm)

    def _direction(self, compared: Compared, batch: Pairs) -> Tensor:
        true = batch.true_gradient[: len(compared.gradient)]
        return losses.direction_loss(compared.gradient, true)

    def _vector(self, compared: Compared, batch: Pairs) -> Tensor:
        residual = so4.residual(compared.moving, compared.fixed)
        return losses.vector_loss(residual, batch.true_residual, self._loss.unit_mm)

    def _secant(self, compared: Compared, batch: Pairs) -> Tensor:
        found = so4.residual(compared.beside, compared.moving)
        true = so4.residual(batch.beside_poses, batch.moving_poses)
        return losses.secant_loss(found, true)

    def _conditioning(self, compared: Compared, batch: Pairs) -> Tensor:
        # Some renderings beside themselves: the poses are equal.
        some = slice(len(batch.jacobians))
        renderings, masks = batch.renderings[some], batch.masks[some]
        same = self.network(normalise(renderings, masks))
        jacobian = encoded_residual(self.network, renderings, batch.jacobians, same, masks)[1]
        return losses.conditioning_loss(jacobian)

    def _shortness(self, compared: Compared, batch: Pairs) -> Tensor:
        return compared.shortness

    _parts = {
        'value': _value,
        'all_pairs': _all_pairs,
        'pose': _pose,
        'direction': _direction,
        'vector': _vector,
        'secant': _secant,
        'conditioning': _conditioning,
        'shortness': _shortness,
    }


@dataclass(frozen=True, eq=False)
class SimilarityTask:
    """The learned similarity of one CT or of several.

    Attributes:
        settings: network, pairs, loss and schedule.
        generator: makes X-rays and renderings.
        start: whose filters the encoder begins with; None: random ones.
    """

    settings: SimilaritySettings
    generator: XRayGenerator
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
    def network(self) -> SphericalEncoder:
        """Return the network."""
        network = SphericalEncoder(self.settings.network)
        if self.start is not None:
            network.begin_with(self.start)
            network.trunk.requires_grad_(self.schedule.pretrained_lr_scale > 0)
        return network

    @cached_property
    def module(self) -> SimilarityModule:
        """Return what makes losses of batches."""
        return SimilarityModule(self.network, self.settings.loss)

    @property
    def pretrained(self) -> Sequence[nn.Parameter]:
        """Return the filters that the encoder took over from a regressor."""
        return () if self.start is None else tuple(self.network.trunk.parameters())

    def batch(self, count: int, seed_key: SeedKey, wait: bool = False) -> Pairs:
        """Return X-rays and renderings near them, with what the loss needs."""
        loss = self.settings.loss
        return self.generator.pairs(
            count,
            self.settings.displacements,
            seed_key,
            wait,
            math.ceil(loss.slope_share * count) if loss.looks_at_slopes else 0,
            loss.secant_mm if loss.secant > 0 else 0.0,
        )

    def held_out(self, count: int, seed_key: SeedKey) -> Pairs:
        """Return X-rays and renderings near them, all with slopes."""
        return self.generator.pairs(count, self.settings.displacements, seed_key)

    def measure(self, batches: Sequence[Pairs]) -> dict[str, float]:
        """Return how well distances agree, and the angles between learned and true gradients."""
        learned, true, angles = [], [], []
        for batch in batches:
            compared = compare(self.network, batch, for_training=False)
            learned.append((2 * compared.half_squares).sqrt())
            true.append(batch.true_residual.norm(dim=-1))
            angles.append(twist_angles_deg(compared.gradient, batch.true_gradient))
        learned_mm, true_mm = (losses.MM_PER_DISTANCE * torch.cat(d).cpu() for d in (learned, true))
        rotation_deg, translation_deg = torch.cat(angles).cpu().T
        return {
            'correlation': float(torch.corrcoef(torch.stack([learned_mm, true_mm]))[0, 1]),
            'median_distance_error_mm': float((learned_mm - true_mm).abs().quantile(0.5)),
            'median_rotation_gradient_deg': float(rotation_deg.quantile(0.5)),
            'median_translation_gradient_deg': float(translation_deg.quantile(0.5)),
        }


def compare(network: SphericalEncoder, batch: Pairs, for_training: bool = True) -> Compared:
    """Encode X-rays and renderings, and derive S = d^2 / 2 by the poses of those with Jacobians.

    Args:
        network: the encoder.
        batch: what it shall compare.
        for_training: keep what is needed to back-propagate.
    """
    count = len(batch.jacobians)
    with torch.set_grad_enabled(for_training):
        images = (
            batch.images,
            normalise(batch.renderings[count:], batch.masks[count:]),
            normalise(batch.beside, batch.masks[: len(batch.beside)]),
        )
        raw_fixed, raw_rest, raw_beside = network.raw(torch.cat(images)).split(
            [len(some) for some in images]
        )
        fixed = network.head.project(raw_fixed)
    raw_sloped = raw_fixed[:0]
    values, gradient = fixed.new_zeros(0), fixed.new_zeros(0, 6)
    if count > 0:
        values, gradient, raw_sloped = _derived(network, batch, fixed[:count], for_training)
    raw_moving = torch.cat([raw_sloped, raw_rest])
    moving, beside = network.head.project(raw_moving), network.head.project(raw_beside)
    rest = network.head.squared_distance(moving[count:], fixed[count:]) / 2
    shortness = network.head.shortness(raw_fixed) + network.head.shortness(raw_moving)
    found = Compared(fixed, moving, beside, shortness, torch.cat([values, rest]), gradient)
    return found if for_training else Compared(*(value.detach() for value in found))


def _derived(
    network: SphericalEncoder, batch: Pairs, fixed: Float[Tensor, 'n *features'], for_training: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return S, its derivative by the pose and the raw features of renderings with Jacobians."""
    count = len(fixed)
    kept: list[Tensor] = []

    def half_squares(renderings: Tensor) -> Tensor:
        kept.append(network.raw(normalise(renderings, batch.masks[:count])))
        return network.head.squared_distance(network.head.project(kept[0]), fixed) / 2

    values, gradient = losses.pose_gradient(
        half_squares, batch.renderings[:count], batch.jacobians, for_training
    )
    return values, gradient, kept[0]
