import numpy as np
import torch
from randomised import line_integrals, seeded

from sph_reg_ros.augmentation.beam import RENDERED_KEV, add_scatter, count_photons, harden
from sph_reg_ros.imaging.attenuation import water_attenuation

COUNT = 300


def depths(count: int = COUNT) -> torch.Tensor:
    """Images of water, from air to 6 mean free paths."""
    return torch.linspace(0.0, 6.0, 100).reshape(1, 10, 10).repeat(count, 1, 1)


def test_hardening_is_monotone_keeps_air_and_slopes_less_behind_thick_parts():
    images = depths()
    found = harden(images, seeded(), 1.0).flatten(1)
    assert found[:, 0].abs().max() < 1e-5
    steps = found.diff(dim=1)
    assert (steps > 0).all()
    assert (steps[:, 0] > steps[:, -1]).all()
    # Each image has a tube voltage of its own.
    bends = steps[:, 0] / steps[:, -1]
    assert bends.max() > 1.02 * bends.min() and bends.min() > 1.1


def test_hardening_lies_between_the_attenuations_of_the_energies_in_the_beam():
    images = depths()
    found = harden(images, seeded(), 1.0)
    low, high = (water_attenuation(kev) / water_attenuation(RENDERED_KEV) for kev in (130, 35))
    assert (found <= high * images + 1e-4).all() and (found >= low * images - 1e-4).all()


def test_scatter_adds_smooth_light_up_to_one_and_a_half_times_the_primary():
    images = line_integrals(COUNT, (40, 40))
    light = torch.exp(-add_scatter(images, seeded(), 1.0)) - torch.exp(-images)
    assert light.min() > -1e-6
    middle = (slice(None), slice(10, 30), slice(10, 30))
    primary = torch.exp(-images[middle]).flatten(1).median(1).values
    ratio = light[middle].flatten(1).median(1).values / primary
    assert 1.4 < ratio.max() < 1.6 and ratio.min() < 0.1
    # Far smoother than the body that it comes from.
    strong = ratio > 0.5
    roughness = [x.diff(dim=2).abs().mean((1, 2)) / x.mean((1, 2)) for x in (light, images)]
    assert (roughness[0][strong] < 0.7 * roughness[1][strong]).all()


def test_photon_noise_is_stronger_behind_thick_parts_and_without_bias_in_front_of_them():
    images = torch.full((COUNT, 32, 32), 1.0)
    images[:, 8:24, 8:24] = 3.0
    found = count_photons(images, seeded(), 1.0)
    thin, thick = found[:, :8].flatten(1), found[:, 10:22, 10:22].flatten(1)
    assert (thick.std(1) > thin.std(1)).float().mean() > 0.99
    # 10^3 to 10^5 photons in the middle: 3.2 to 0.32 % noise.
    assert 0.025 < thick.std(1).max() < 0.04 and 0.0025 < thick.std(1).min() < 0.005
    np.testing.assert_allclose(thin.mean(), 1.0, atol=1e-3)


def test_no_photons_at_all_count_as_half_a_one():
    images = torch.full((4, 32, 32), 2.0)
    images[:, 0] = 60.0
    found = count_photons(images, seeded(), 1.0)
    assert torch.isfinite(found).all()
    assert (found[:, 0] > 6.0).all() and (found[:, 0] < 16.0).all()
