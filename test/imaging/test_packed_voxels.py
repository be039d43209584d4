"""Attenuation of large CTs in 16 bits: the same as that of small ones, to half a step."""

import numpy as np
import pytest
import torch

from sph_reg_ros.imaging import attenuation
from sph_reg_ros.imaging.attenuation import AttenuationVolume, attenuation_from_hounsfield
from sph_reg_ros.imaging.ct.volume import CT
from sph_reg_ros.imaging.packed_voxels import LARGEST, PackedVoxels

SHAPE = (7, 9, 11)


def ct_of(hounsfield: np.ndarray) -> CT:
    return CT(hounsfield, np.diag([0.7, 0.9, 2.5, 1.0]), series_uid_hash='0' * 16)


@pytest.fixture
def hounsfield() -> np.ndarray:
    values = np.random.default_rng(5).integers(-2000, 3000, SHAPE).astype(np.int16)
    values[0, 0, :2] = -32768, 30000
    return values


@pytest.fixture
def every_ct_is_large(monkeypatch):
    monkeypatch.setattr(attenuation, 'MOST_IN_FLOATS', 0)


@pytest.mark.parametrize('dtype', [np.int16, np.float32])
def test_a_large_ct_has_the_attenuation_of_a_small_one(monkeypatch, hounsfield, dtype):
    ct = ct_of(hounsfield.astype(dtype))
    small = attenuation_from_hounsfield(ct, 80.0)
    monkeypatch.setattr(attenuation, 'MOST_IN_FLOATS', 0)
    large = attenuation_from_hounsfield(ct, 80.0)
    assert isinstance(small.voxels, torch.Tensor) and isinstance(large.voxels, PackedVoxels)
    step = float(small.mu.max()) / LARGEST
    assert large.voxels.scale == step
    torch.testing.assert_close(large.mu, small.mu, atol=0.51 * step, rtol=0)
    assert (large.mu[small.mu == 0] == 0).all()
    assert large.shape == small.shape and large.device == small.device
    padded = large.voxels.padded.copy()
    padded[1:-1, 1:-1, 1:-1] = 0
    assert not padded.any() and large.voxels.padded.any()


def test_whole_numbers_are_packed_alike_whatever_their_type(every_ct_is_large, hounsfield):
    whole, real = (
        attenuation_from_hounsfield(ct_of(hounsfield.astype(dtype))).voxels.padded
        for dtype in (np.int16, np.float32)
    )
    np.testing.assert_array_equal(whole, real)


@pytest.mark.parametrize('factors', [(2, 2, 2), (1, 3, 2), (4, 1, 1), (20, 20, 20)])
def test_blocks_of_packed_voxels_have_the_mean_of_floats(monkeypatch, hounsfield, factors):
    small = attenuation_from_hounsfield(ct_of(hounsfield))
    monkeypatch.setattr(attenuation, 'MOST_IN_FLOATS', 0)
    large = attenuation_from_hounsfield(ct_of(hounsfield))
    expected, found = small.downsampled(factors), large.downsampled(factors)
    assert isinstance(found.voxels, PackedVoxels)
    torch.testing.assert_close(found.ct_from_index, expected.ct_from_index)
    # Half a step of the voxels and half a finer one of their mean.
    torch.testing.assert_close(found.mu, expected.mu, atol=1.01 * large.voxels.scale, rtol=0)


def test_what_16_bits_cannot_hold_stays_in_floats(every_ct_is_large):
    air = attenuation_from_hounsfield(ct_of(np.full(SHAPE, -1000, np.int16)))
    assert isinstance(air.voxels, torch.Tensor) and not air.mu.any()
    assert PackedVoxels.of(torch.tensor([[[-1.0, 2.0]]])) is None
    volume = AttenuationVolume(-torch.ones(SHAPE), torch.eye(4, dtype=torch.float64))
    assert (volume.downsampled(2).mu[0] < 0).all()


def test_packed_voxels_go_to_another_device_as_floats(every_ct_is_large, hounsfield):
    volume = attenuation_from_hounsfield(ct_of(hounsfield))
    assert volume.to('cpu') is volume
    moved = volume.voxels.floats('meta')
    assert moved.dtype == torch.float32 and moved.device.type == 'meta'
    assert tuple(moved.shape) == volume.shape
