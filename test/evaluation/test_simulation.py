"""Simulated X-rays: physics by hand, crop without shift, chance only from the generator."""

from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip('diffdrr.renderers')

from sph_reg_ros.errors import ConfigError
from sph_reg_ros.evaluation.blur import gaussian_blur
from sph_reg_ros.evaluation.simulation import (
    XRaySimulation,
    patient_from_ct,
    simulate_xray,
    transmitted_share,
)
from sph_reg_ros.geometry import Camera
from sph_reg_ros.imaging.attenuation import water_attenuation
from sph_reg_ros.imaging.ct.volume import CT

CAMERA = Camera.from_geometry(1000.0, (1.0, 1.0), (48, 64))
IDEAL = XRaySimulation(
    energies_kev=(60.0,),
    energy_weights=(1.0,),
    photons_per_pixel=1e12,
    blur_sigma_px=0.0,
    scatter_fraction=0.0,
)


def water_box(hounsfield: float = 0.0) -> CT:
    """Return 20 x 24 x 30 mm of one material in air, far from the middle of an anisotropic grid."""
    voxels = np.full((20, 40, 50), -1000.0, dtype=np.float32)
    voxels[6:16, 10:34, 30:50] = hounsfield
    affine = np.diag([1.0, -1.0, 3.0, 1.0])
    affine[:3, 3] = (-39.5, 21.5, -31.5)
    return CT(voxels, affine, series_uid_hash='0' * 16)


def view_from_the_front() -> torch.Tensor:
    """Return a camera 500 mm from the CT's origin, looking along +y of LPS."""
    return torch.tensor(
        [[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 500], [0, 0, 0, 1]], dtype=torch.float64
    )


def shoot(ct: CT, simulation: XRaySimulation, seed: int = 1) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return simulate_xray(patient_from_ct(ct), view_from_the_front(), CAMERA, simulation, generator)


def test_water_attenuates_as_beer_and_lambert_say():
    counts = shoot(water_box(), IDEAL)
    line_integral = np.log(IDEAL.open_beam_counts / counts[24, 31])
    # The box lies around the origin: the central rays cross its 24 mm nearly at right angles.
    assert line_integral == pytest.approx(24.0 * water_attenuation(60.0), rel=2e-3)


def test_the_shadow_of_an_off_centre_box_lies_where_the_camera_projects_it():
    shadow = shoot(water_box(), IDEAL) < 0.999 * IDEAL.open_beam_counts
    columns = np.flatnonzero(shadow.any(axis=0))
    corners = torch.tensor([[x, z, 500 + y] for x in (-10, 10) for y in (-12, 12) for z in (0,)])
    u = CAMERA.project(corners.double())[:, 0]
    assert abs(columns[0] - float(u.min())) < 1.0
    assert abs(columns[-1] - float(u.max())) < 1.0


def test_cropping_the_air_away_moves_nothing():
    ct = water_box()
    patient = patient_from_ct(ct)
    assert patient.water_equivalent.shape == (10, 24, 20)
    corner = patient.ct_from_index @ torch.tensor([0, 0, 0, 1], dtype=torch.float64)
    expected = ct.ct_from_index @ np.array([30, 10, 6, 1])
    np.testing.assert_allclose(corner.numpy(), expected)


def test_values_below_air_count_as_air():
    ct = water_box()
    padded = np.where(ct.hounsfield == -1000.0, -2048.0, ct.hounsfield).astype(np.float32)
    np.testing.assert_array_equal(shoot(replace(ct, hounsfield=padded), IDEAL), shoot(ct, IDEAL))


def test_bone_hardens_the_beam_more_than_water():
    path_mm = np.full((1, 1), 100.0, dtype=np.float32)
    none = np.zeros_like(path_mm)
    spectrum = XRaySimulation(energies_kev=(40.0, 100.0), energy_weights=(1.0, 1.0))
    for soft, bone in ((path_mm, none), (none, path_mm)):
        once = -np.log(transmitted_share(soft, bone, spectrum))
        twice = -np.log(transmitted_share(2 * soft, 2 * bone, spectrum))
        assert twice.item() < 2 * once.item()
    at_40, at_100 = (
        XRaySimulation(energies_kev=(kev,), energy_weights=(1.0,)) for kev in (40.0, 100.0)
    )
    bone_ratio = np.log(transmitted_share(none, path_mm, at_40)) / np.log(
        transmitted_share(none, path_mm, at_100)
    )
    water_ratio = np.log(transmitted_share(path_mm, none, at_40)) / np.log(
        transmitted_share(path_mm, none, at_100)
    )
    assert bone_ratio.item() > 1.5 * water_ratio.item()


def test_noise_is_that_of_the_photons_and_comes_from_the_seed():
    simulation = replace(IDEAL, photons_per_pixel=10_000.0)
    air = replace(water_box(), hounsfield=np.full((20, 40, 50), -1000.0, dtype=np.float32))
    first, again, other = (shoot(air, simulation, seed) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert first.std() / first.mean() == pytest.approx(0.01, rel=0.1)


def test_counts_fit_the_bits_and_the_open_beam_level():
    simulation = replace(IDEAL, bits=12, open_beam_level=0.5)
    counts = shoot(water_box(), simulation)
    assert counts.dtype == np.uint16
    assert counts[0, 0] == round(0.5 * 4095)
    saturated = shoot(water_box(), replace(simulation, open_beam_level=1.0, scatter_fraction=0.5))
    assert saturated.max() == 4095


def test_scatter_brightens_the_shadow_and_blur_softens_its_edge():
    sharp, scattered, blurred = (
        shoot(water_box(1000.0), simulation).astype(float)
        for simulation in (
            IDEAL,
            replace(IDEAL, scatter_fraction=0.1, open_beam_level=0.5),
            replace(IDEAL, blur_sigma_px=1.5),
        )
    )
    contrast = sharp[24].min() / sharp[24].max()
    assert scattered[24].min() / scattered[24].max() > 1.05 * contrast
    assert np.abs(np.diff(blurred[24])).max() < 0.5 * np.abs(np.diff(sharp[24])).max()


def test_collimator_and_instrument_darken_what_they_cover():
    plain = shoot(water_box(), IDEAL)
    closed = shoot(water_box(), replace(IDEAL, collimator_margin_px=6))
    assert closed[:6].max() < 0.01 * plain.max()
    opening = np.s_[6:-6, 6:-6]
    np.testing.assert_allclose(closed[opening].astype(float), plain[opening], atol=2)
    needle = shoot(water_box(), replace(IDEAL, instrument=True))
    assert 0.001 < (needle < 0.5 * plain).mean() < 0.05


@pytest.mark.parametrize(
    'field',
    [
        {'bits': 8},
        {'photons_per_pixel': 0.0},
        {'scatter_fraction': 1.5},
        {'energies_kev': (20.0,), 'energy_weights': (1.0,)},
        {'energies_kev': (60.0, 70.0), 'energy_weights': (1.0,)},
        {'blur_sigma_px': -0.1},
        {'open_beam_level': 0.0},
        {'collimator_margin_px': -1},
        {'scatter_sigma_px': 0.0},
    ],
)
def test_settings_out_of_range_are_refused(field):
    with pytest.raises(ConfigError):
        XRaySimulation(**field)


def test_the_blur_is_gaussian_keeps_the_mean_and_continues_the_border():
    image = np.zeros((41, 61), dtype=np.float32)
    image[20, 30] = 1.0
    blurred = gaussian_blur(image, 2.0)
    assert blurred.sum() == pytest.approx(1.0, rel=1e-4)
    assert blurred[20, 32] / blurred[20, 30] == pytest.approx(np.exp(-0.5), rel=1e-4)
    assert blurred[22, 30] == pytest.approx(blurred[20, 32], rel=1e-4)
    np.testing.assert_allclose(gaussian_blur(np.ones((8, 9), np.float32), 40.0), 1.0, rtol=1e-4)
