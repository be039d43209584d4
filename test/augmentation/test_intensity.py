"""Each operation of 2509.06890, supplement 9, and its ranges."""

import torch
from randomised import line_integrals, seeded

from sph_reg_ros.augmentation.intensity import (
    add_noise,
    bend,
    change_gamma,
    renormalise,
    scale,
)
from sph_reg_ros.augmentation.smoothing import blur, smooth

COUNT = 500


def ramp(count: int = COUNT) -> torch.Tensor:
    """Images that rise from 0 to 2."""
    return torch.linspace(0.0, 2.0, 12 * 10).reshape(1, 12, 10).repeat(count, 1, 1)


def test_noise_is_white_and_its_deviation_up_to_6_percent_of_the_largest_value():
    images = torch.ones(COUNT, 30, 30) * 2.0
    noise = add_noise(images, seeded(), 1.0) - images
    deviation = noise.flatten(1).std(1) / 2.0
    # 0.4 |m|, m in [-0.15, 0.1]
    assert 0.055 < deviation.max() < 0.065 and deviation.min() < 0.002
    assert (deviation > 0.042).float().mean() > 0.1  # only negative m reach that far
    correlation = (noise[:, :, 1:] * noise[:, :, :-1]).mean() / noise.square().mean()
    assert abs(correlation) < 0.02


def test_renormalisation_maps_the_ends_of_the_range_where_it_says():
    found = renormalise(ramp(), seeded(), 1.0)
    low, high = found.flatten(1).amin(1) / 2.0, found.flatten(1).amax(1) / 2.0
    assert -0.04 <= low.min() < -0.035 and 0.015 < low.max() <= 0.02
    assert 0.9 <= high.min() < 0.91 and 1.04 < high.max() <= 1.05
    back = (found - found.amin((1, 2), True)) / (high - low)[:, None, None]
    assert torch.allclose(back, ramp(), atol=1e-5)


def test_scaling_multiplies_by_0_9_to_1_05():
    factor = scale(ramp(), seeded(), 1.0)[:, 3:] / ramp()[:, 3:]
    assert torch.allclose(factor, factor[:, :1, :1].expand_as(factor), atol=1e-5)
    assert 0.9 <= factor.min() < 0.91 and 1.04 < factor.max() <= 1.0501


def test_gamma_keeps_the_range_and_raises_to_0_7_to_1_3():
    images = ramp() + 1.0
    found = change_gamma(images, seeded(), 1.0)
    assert torch.allclose(found.amin((1, 2)), images.amin((1, 2)))
    assert torch.allclose(found.amax((1, 2)), images.amax((1, 2)))
    x, y = (images - 1.0) / 2.0, (found - 1.0) / 2.0
    gamma = torch.log(y[:, 6, 5]) / torch.log(x[:, 6, 5])
    assert 0.7 <= gamma.min() < 0.71 and 1.29 < gamma.max() <= 1.301
    assert torch.allclose(y, x.pow(gamma[:, None, None]), atol=1e-4)


def test_bending_is_a_sine_that_never_falls_and_is_cut_at_the_ends_of_the_range():
    found = bend(ramp(), seeded(), 1.0).flatten(1)
    assert (found.diff(dim=1) >= -1e-6).all()
    assert found.min() >= 0.0 and found.max() <= 2.0 + 1e-6
    assert (found[:, 0] == 0.0).any() and (found[:, 0] > 0.0).any()
    # a sin(c) at the lower end: a up to 1.1, c up to 0.4.
    assert 0.35 < found[:, 0].max() / 2.0 <= 1.1 * 0.3894 + 1e-4


def test_smoothing_is_the_published_kernel_of_3_or_5_pixels():
    images = torch.zeros(COUNT, 11, 11)
    images[:, 5, 5] = 1.0
    found = smooth(images, seeded(), 1.0)
    offsets = torch.arange(-2, 3).float()
    kernels = []
    for radius in (1, 2):
        weights = torch.exp(-0.5 * offsets**2) * (offsets.abs() <= radius)
        weights = weights / weights.sum()
        kernels.append(weights[:, None] * weights)
    errors = torch.stack([(found[:, 3:8, 3:8] - k).abs().amax((1, 2)) for k in kernels])
    assert (errors.min(0).values < 1e-6).all()
    assert 0.4 < (errors[0] < errors[1]).float().mean() < 0.6


def test_a_blur_keeps_a_constant_image_and_the_size_of_each_image_is_its_own():
    images = line_integrals(3, (20, 26))
    one = torch.ones(3, 1, 1)
    sigma = torch.tensor([0.5, 2.0, 4.0])[:, None, None]
    assert torch.allclose(
        blur(torch.full_like(images, 3.0), sigma, 4 * sigma), 3.0 * one, rtol=1e-5
    )
    found = blur(images, sigma, 4 * sigma)
    alone = torch.cat(
        [blur(images[n : n + 1], sigma[n : n + 1], 4 * sigma[n : n + 1]) for n in range(3)]
    )
    assert torch.allclose(found, alone, atol=1e-6)
    roughness = (found - images).square().mean((1, 2))
    assert roughness[0] < roughness[1] < roughness[2]
