"""Hounsfield units to attenuation, and the attenuation volume."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sph_reg_ros.errors import ConfigError, CTError, ErrorCode
from sph_reg_ros.imaging.attenuation import (
    CT_EFFECTIVE_KEV,
    AttenuationVolume,
    attenuation_from_hounsfield,
    bone_attenuation,
    water_attenuation,
)
from sph_reg_ros.imaging.ct.volume import CT

ENERGIES = st.floats(30, 150)


def ct_of(values, dtype=np.float32) -> CT:
    voxels = np.resize(np.asarray(values, dtype), (2, 2, max(2, len(values))))
    return CT(voxels, np.diag([0.7, 0.9, 2.5, 1.0]), series_uid_hash='0' * 16)


def mu_of(values, energy_kev) -> np.ndarray:
    return attenuation_from_hounsfield(ct_of(values), energy_kev).mu[0, 0].numpy()


@settings(max_examples=30, deadline=None, derandomize=True)
@given(ENERGIES)
def test_air_is_zero_water_is_water_and_below_air_is_air(energy_kev):
    air, below, far_below, water = mu_of([-1000, -1024, -2048, 0], energy_kev)
    assert air == below == far_below == 0
    assert water == pytest.approx(water_attenuation(energy_kev), rel=1e-6)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(ENERGIES, st.lists(st.floats(-1000, 3000, width=32), min_size=2, max_size=9))
def test_attenuation_grows_with_hounsfield_units(energy_kev, values):
    mu = mu_of(sorted(values), energy_kev)
    assert (np.diff(mu) >= 0).all() and (mu >= 0).all()


def test_the_scanners_own_energy_gives_back_its_hounsfield_units():
    values = np.array([-1000, -300, 0, 40, 700, 1500, 3000.0])
    mu = mu_of(values, CT_EFFECTIVE_KEV)
    water = water_attenuation(CT_EFFECTIVE_KEV)
    np.testing.assert_allclose((mu / water - 1) * 1000, values, atol=0.01)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(ENERGIES)
def test_the_hounsfield_units_of_cortical_bone_give_its_attenuation(energy_kev):
    ratio = bone_attenuation(CT_EFFECTIVE_KEV) / water_attenuation(CT_EFFECTIVE_KEV)
    mu = mu_of([(ratio - 1) * 1000, 0], energy_kev)[0]
    assert mu == pytest.approx(bone_attenuation(energy_kev), rel=1e-5)


def test_the_table_is_that_of_nist_in_1_per_mm():
    assert water_attenuation(60.0) == pytest.approx(0.02059)
    assert bone_attenuation(60.0) == pytest.approx(0.3148 * 0.192)
    # NIST XAAMDI has no 70 keV row; XCOM gives 0.1929 cm2/g for water.
    assert water_attenuation(70.0) == pytest.approx(0.01929, rel=0.01)


@pytest.mark.parametrize('energy_kev', [29.9, 150.1, 0.0, -60.0, float('nan'), float('inf')])
def test_an_energy_outside_the_table_is_refused(energy_kev):
    with pytest.raises(ConfigError, match='30 to 150 keV') as error:
        attenuation_from_hounsfield(ct_of([0]), energy_kev)
    assert error.value.code == ErrorCode.CONFIG_INVALID


def test_int16_and_float_voxels_give_the_same_and_the_ct_is_left_alone():
    values = [-2048, -1000, 0, 1200]
    whole, real = ct_of(values, np.int16), ct_of(values, np.float32)
    assert torch.equal(attenuation_from_hounsfield(whole).mu, attenuation_from_hounsfield(real).mu)
    np.testing.assert_array_equal(whole.hounsfield, ct_of(values, np.int16).hounsfield)


AFFINES = st.tuples(
    st.lists(st.floats(0.3, 3), min_size=3, max_size=3),
    st.lists(st.floats(-300, 300), min_size=3, max_size=3),
    st.booleans(),
)
FACTORS = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 2))


def affine_of(spacing, origin, mirrored) -> torch.Tensor:
    rotation = torch.linalg.qr(torch.tensor([[1.0, 2, 3], [0, 1, 4], [5, 6, 0]]).double()).Q
    if mirrored:
        rotation[:, 0] *= -1
    affine = torch.eye(4, dtype=torch.float64)
    affine[:3, :3] = rotation * torch.tensor(spacing, dtype=torch.float64)
    affine[:3, 3] = torch.tensor(origin, dtype=torch.float64)
    return affine


def world_grid(affine, shape) -> torch.Tensor:
    """World positions [K, J, I, 3] of all voxels."""
    k, j, i = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in shape), indexing='ij')
    return torch.stack([i, j, k], dim=-1) @ affine[:3, :3].T + affine[:3, 3]


@settings(max_examples=25, deadline=None, derandomize=True)
@given(AFFINES, FACTORS)
def test_downsampling_moves_nothing_in_the_world(affine_parts, factors):
    affine = affine_of(*affine_parts)
    shape = (4, 6, 6)
    gradient = torch.tensor([0.3, -0.2, 0.5], dtype=torch.float64)
    field = world_grid(affine, shape) @ gradient
    small = AttenuationVolume(field.float(), affine).downsampled(factors)
    expected = world_grid(small.ct_from_index, small.shape) @ gradient
    if small.shape == tuple(-(-n // f) for n, f in zip(shape, factors[::-1], strict=True)):
        torch.testing.assert_close(small.mu.double(), expected, atol=1e-3, rtol=1e-5)


def test_downsampling_fills_up_with_air_instead_of_dropping_the_rest():
    volume = AttenuationVolume(torch.ones(3, 4, 5), torch.eye(4, dtype=torch.float64))
    small = volume.downsampled(2)
    assert small.shape == (2, 2, 3)
    assert small.mu[0, 0].tolist() == [1.0, 1.0, 0.5]
    assert float(small.mu.sum()) * 8 == pytest.approx(float(volume.mu.sum()))
    with pytest.raises(ConfigError):
        volume.downsampled(0)


def test_centre_is_the_middle_of_the_grid_whatever_the_storage_order():
    affine = affine_of((0.7, 0.9, 2.5), (10.0, -20.0, 30.0), False)
    volume = AttenuationVolume(torch.zeros(3, 4, 5), affine)
    torch.testing.assert_close(volume.centre, world_grid(affine, (3, 4, 5)).mean(dim=(0, 1, 2)))
    flipped = affine.clone()
    flipped[:, 3] += affine[:, 0] * 4
    flipped[:, 0] *= -1
    torch.testing.assert_close(replace(volume, ct_from_index=flipped).centre, volume.centre)
    assert volume.spacing_mm == pytest.approx((0.7, 0.9, 2.5))


@pytest.mark.parametrize(
    'mu, affine',
    [
        (torch.zeros(3, 4), torch.eye(4).double()),
        (torch.zeros(3, 4, 5).double(), torch.eye(4).double()),
        (torch.full((3, 4, 5), float('nan')), torch.eye(4).double()),
        (torch.zeros(3, 4, 5), torch.eye(4)),
        (torch.zeros(3, 4, 5), torch.zeros(4, 4).double()),
        (torch.zeros(3, 4, 5), torch.full((4, 4), float('nan')).double()),
    ],
)
def test_a_broken_volume_is_refused(mu, affine):
    with pytest.raises(CTError):
        AttenuationVolume(mu, affine)
