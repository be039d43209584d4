"""Values that do not look like Hounsfield units are doubts that travel with the CT."""

import numpy as np
import pytest

from sph_reg_ros.imaging.attenuation import attenuation_from_hounsfield
from sph_reg_ros.imaging.ct.hounsfield import NOT_HU, HounsfieldStack, hounsfield_doubts
from sph_reg_ros.imaging.ct.volume import CT


def body() -> np.ndarray:
    """A block of tissue with bone in it, in air, with padding around."""
    rng = np.random.default_rng(0)
    values = np.full((20, 30, 30), -1000.0)
    values[3:17, 5:25, 5:25] = rng.normal(40, 30, (14, 20, 20))
    values[3:17, 12:16, 12:16] = rng.uniform(200, 1500, (14, 4, 4))
    values[:, :2] = -2000
    return values.round()


@pytest.mark.parametrize(
    'change',
    [
        lambda hu: hu,
        lambda hu: hu.clip(-1024, 3071),
        lambda hu: np.where(hu == -2000, -3024, hu),
        lambda hu: np.where(hu == -2000, -32768, hu),
        lambda hu: hu[:, 2:],
    ],
)
def test_hounsfield_units_raise_no_doubt_whatever_the_padding(change):
    assert hounsfield_doubts(change(body()).astype(np.float32)) == ()


@pytest.mark.parametrize(
    'change',
    [
        lambda hu: (hu > -500) * 1.0 + (hu > 150),
        lambda hu: (hu + 2000) / 4000,
        lambda hu: ((hu + 1000) / 2000 * 255).clip(0, 255),
        lambda hu: (hu + 1024).clip(0),
        lambda hu: hu.clip(-200, 1000),
        lambda hu: hu.clip(-1000, -600),
        lambda hu: 0.02 * (1 + hu / 1000).clip(0),
        lambda hu: hu * 0,
    ],
    ids=['labels', 'unit', 'bytes', 'stored', 'window', 'no tissue', 'mu', 'empty'],
)
def test_values_without_air_or_tissue_are_doubted(change):
    (doubt,) = hounsfield_doubts(change(body()).astype(np.float32))
    assert NOT_HU in doubt


@pytest.mark.parametrize('shift', [1000, 1024])
def test_stored_values_are_doubted_even_if_their_padding_looks_like_air(shift):
    (doubt,) = hounsfield_doubts((body() + shift).astype(np.float32))
    assert 'are these HU?' in doubt


def test_padding_that_is_not_declared_is_doubted():
    values = body()
    values[:, :2] = 62512
    (doubt,) = hounsfield_doubts(values.astype(np.float32))
    assert 'padding' in doubt and '62512' in doubt


def test_doubts_and_assumptions_stay_with_the_volume():
    ct = CT((body() + 1024).clip(0).astype(np.int16), np.eye(4), '', assumptions=('assumed',))
    volume = attenuation_from_hounsfield(ct)
    expected = ('CT: assumed', *(f'CT: {text}' for text in ct.hounsfield_doubts))
    assert len(expected) == 2
    for each in (volume, volume.coarsened(3.0), volume.to('cpu'), volume.downsampled(2)):
        assert each.doubts == expected


@pytest.mark.parametrize('first_real', [0, 1, 3])
def test_slices_before_the_first_one_that_is_not_whole_keep_their_values(first_real):
    values = np.arange(4 * 3 * 5).reshape(4, 3, 5) - 20.0
    values[first_real] += 0.25
    stack = HounsfieldStack(values.shape)
    for k, plane in enumerate(values):
        assert stack.volume.dtype == (np.int16 if k <= first_real else np.float32)
        stack.put(k, plane)
    np.testing.assert_array_equal(stack.volume, values.astype(np.float32))
