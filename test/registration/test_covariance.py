"""The covariance of a pose, against the spread of repeated experiments."""

from dataclasses import replace

import pytest
import torch
from point_clouds import TARGET, Alignment, generator, solve

from sph_reg_ros.geometry import se3
from sph_reg_ros.geometry.se3 import TWIST_LENGTH_MM
from sph_reg_ros.registration.covariance import pose_covariance
from sph_reg_ros.similarity import ResidualBlock, Robust, RobustKernel, of_blocks
from sph_reg_ros.solvers import LMConfig

CONFIG = LMConfig(max_iterations=50)
COUNT, REPEATS = 120, 120
UNITS = torch.tensor([1.0] * 3 + [TWIST_LENGTH_MM] * 3, dtype=torch.float64)


def noisy(seed: int, weight=None) -> Alignment:
    """Noise that grows tenfold over the points: a plain fit is not the best one."""
    size = torch.linspace(0.005, 0.05, COUNT, dtype=torch.float64)[:, None]
    noise = torch.randn(COUNT, 3, dtype=torch.float64, generator=generator(seed))
    return Alignment(COUNT, size * noise, weight)


def covariance(block: ResidualBlock, kernel=RobustKernel.NONE) -> torch.Tensor:
    return pose_covariance([of_blocks([block], 6, Robust(kernel), patches=COUNT)])


def spread_and_prediction(kernel='none', weight=None) -> tuple[torch.Tensor, torch.Tensor]:
    """Standard deviations [6] of the errors of repeated fits, and as the covariance has them."""
    errors, predicted = [], []
    for seed in range(REPEATS):
        problem = noisy(seed, weight)
        pose = solve(problem, TARGET, CONFIG, kernel=kernel).pose
        errors.append(se3.log(pose @ se3.inverse(TARGET)) * UNITS)
        predicted.append(covariance(*problem(pose), RobustKernel(kernel)).diagonal())
    return torch.stack(errors).square().mean(0).sqrt(), torch.stack(predicted).mean(0).sqrt()


@pytest.mark.parametrize('kernel', RobustKernel)
def test_it_predicts_the_spread_of_repeated_fits_for_every_kernel(kernel):
    spread, predicted = spread_and_prediction(kernel)
    assert torch.allclose(spread, predicted, rtol=0.25)


def test_it_predicts_the_spread_of_weighted_fits_and_good_weights_lower_it():
    size = torch.linspace(0.005, 0.05, COUNT, dtype=torch.float64)
    plain, _ = spread_and_prediction()
    spread, predicted = spread_and_prediction(weight=size.repeat_interleave(3) ** -2)
    assert torch.allclose(spread, predicted, rtol=0.25)
    assert (spread < 0.7 * plain).all()


def test_weights_of_zero_equal_removed_residuals():
    keep = torch.rand(3 * COUNT, generator=generator(9)) > 0.5
    (block,) = noisy(0)(TARGET)
    removed = replace(
        block,
        residual=block.residual[keep],
        jacobian=block.jacobian[keep],
        cluster=block.cluster[keep],
    )
    weighted = replace(block, weight=keep.double())
    assert torch.allclose(covariance(weighted), covariance(removed), rtol=1e-9)


def test_a_common_factor_of_all_weights_changes_nothing():
    (block,) = noisy(0)(TARGET)
    scaled = replace(block, weight=torch.full_like(block.residual, 1e-4))
    assert torch.allclose(covariance(scaled), covariance(block), rtol=1e-9)


def test_single_precision_residuals_give_the_same_figures():
    (block,) = noisy(0)(TARGET)
    single = replace(block, residual=block.residual.float(), jacobian=block.jacobian.float())
    assert torch.allclose(covariance(single), covariance(block), rtol=1e-4)
