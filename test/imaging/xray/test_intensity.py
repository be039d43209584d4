"""Counts to line integrals and back."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sph_reg_ros.errors import ConfigError, ErrorCode, ImageError
from sph_reg_ros.imaging.xray.intensity import (
    IntensityModel,
    line_integrals,
    offset_of_zero,
    offset_warning,
    pixels_from_line_integrals,
)
from sph_reg_ros.imaging.xray.prepare import prepare_xray

KINDS = ('beer_lambert', 'log_compressed', 'line_integral')


def some_integrals(seed, top):
    return top * torch.rand(20, 30, generator=torch.Generator().manual_seed(seed))


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(KINDS), st.floats(1e-3, 1e5), st.booleans(), st.integers(0, 99),
    st.floats(0.1, 7.0),
)  # fmt: skip
def test_line_integrals_survive_the_way_through_counts(kind, i0, bright_air, seed, top):
    model = IntensityModel(kind, i0, bright_air)
    truth = some_integrals(seed, min(top, 0.98) if kind == 'log_compressed' else top)
    found = line_integrals(pixels_from_line_integrals(truth, model), model)
    # A negative keeps i0 - I: float32 then knows I to 6e-8 i0 only.
    tolerance = 1e-5 if bright_air else 1e-5 + 2e-7 * math.exp(top)
    torch.testing.assert_close(found, truth, atol=tolerance, rtol=1e-5)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 99), st.sampled_from(KINDS))
def test_more_attenuation_is_always_a_higher_value(seed, kind):
    model = IntensityModel(kind, None)
    truth = some_integrals(seed, 0.95)
    found = line_integrals(pixels_from_line_integrals(truth, model), model)
    order = truth.flatten().argsort()
    assert bool((found.flatten()[order].diff() >= -1e-6).all())


def test_whole_counts_are_wrong_by_no_more_than_half_a_count():
    model = IntensityModel('beer_lambert', 60000.0)
    truth = some_integrals(0, 6.0)
    pixels = pixels_from_line_integrals(truth, model)
    error = (line_integrals(pixels.round(), model) - truth).abs()
    assert bool((error <= 0.5 / (pixels - 0.5) + 1e-5).all()) and error.max() > 1e-4


def test_the_published_compression_is_equation_17():
    pixels = torch.tensor([[0.0, 50.0], [100.0, 200.0]])
    found = line_integrals(pixels, IntensityModel('log_compressed'))
    for value, result in zip(pixels.flatten().tolist(), found.flatten().tolist(), strict=True):
        expected = 1 - math.log(1 + max(value, 0.5) / 200) / math.log(2)
        assert result == pytest.approx(expected, abs=1e-6)


def test_the_open_beam_is_not_a_hot_pixel_and_may_be_saturated():
    pixels = torch.full((100, 100), 1000.0)
    pixels[:, :40] = 4095.0
    pixels[0, 0] = 60000.0
    found = line_integrals(pixels, IntensityModel())
    assert found[5, 5] == pytest.approx(0.0, abs=1e-6)
    assert found[5, 50] == pytest.approx(math.log(4.095), abs=1e-5)
    assert found[0, 0] < 0, 'brighter than the open beam is kept, not clamped'


def test_the_open_beam_is_estimated_inside_the_mask_only():
    pixels = torch.full((100, 100), 1000.0)
    pixels[:, :40] = 4000.0
    mask = pixels < 2000
    found = line_integrals(pixels, IntensityModel(), mask)
    assert found[5, 50] == pytest.approx(0.0, abs=1e-6)
    assert found.shape == pixels.shape and bool(torch.isfinite(found).all())


@pytest.mark.parametrize('kind', ['beer_lambert', 'log_compressed'])
@pytest.mark.parametrize('scale', [1.0, 1e-4])
@pytest.mark.parametrize('bright_air', [True, False])
def test_zeros_and_negatives_stay_finite(kind, scale, bright_air):
    pixels = torch.tensor([[-3.0, 0.0, 1.0], [2.0, 700.0, 900.0]]) * scale
    found = line_integrals(pixels, IntensityModel(kind, None, bright_air))
    assert bool(torch.isfinite(found).all())


def test_an_empty_pixel_counts_as_half_a_count():
    pixels = torch.tensor([[0.0, 1.0], [10.0, 1000.0]])
    found = line_integrals(pixels, IntensityModel('beer_lambert', 1000.0))
    assert found[0, 0] == pytest.approx(math.log(2000.0), rel=1e-6)


def test_a_negative_without_a_known_beam_is_mirrored_about_the_middle_of_its_range():
    positive = 50 + 100 * torch.rand(40, 40, generator=torch.Generator().manual_seed(0))
    negative = positive.min() + positive.max() - positive
    model = IntensityModel('beer_lambert', None, bright_air=False)
    expected = line_integrals(positive, IntensityModel())
    torch.testing.assert_close(line_integrals(negative, model), expected, atol=1e-5, rtol=0)


@settings(deadline=None, max_examples=20)
@given(st.floats(1e-3, 1e3), st.booleans(), st.sampled_from(KINDS[:2]))
def test_with_an_estimated_beam_the_exposure_does_not_matter(scale, bright_air, kind):
    pixels = 0.1 + torch.rand(30, 30, generator=torch.Generator().manual_seed(1))
    model = IntensityModel(kind, None, bright_air)
    expected = line_integrals(pixels, model)
    found = line_integrals(pixels * scale, model)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_without_a_usable_pixel_the_open_beam_is_unknown():
    with pytest.raises(ImageError, match='no pixel') as caught:
        line_integrals(torch.ones(4, 5), IntensityModel(), torch.zeros(4, 5, dtype=torch.bool))
    assert caught.value.code == ErrorCode.IMAGE_CONTENT


@pytest.mark.parametrize('fill', [0.0, -5.0])
def test_a_black_image_has_no_open_beam(fill):
    with pytest.raises(ImageError) as caught:
        line_integrals(torch.full((20, 20), fill), IntensityModel())
    assert caught.value.code == ErrorCode.IMAGE_CONTENT


@pytest.mark.parametrize(
    'arguments', [('linear',), ('beer_lambert', 0.0), ('beer_lambert', math.nan)]
)
def test_impossible_settings_are_refused(arguments):
    with pytest.raises(ConfigError) as caught:
        IntensityModel(*arguments)
    assert caught.value.code == ErrorCode.CONFIG_INVALID


def test_signed_counts_without_an_offset_count_from_the_darkest_and_say_so():
    truth = 4 * torch.rand(64, 64, generator=torch.Generator().manual_seed(0)) + 0.1
    counts = (40000 * torch.exp(-truth)).round()
    signed = counts - 32768
    model = IntensityModel()
    found, _ = prepare_xray(signed, model, mask_collimator=False)
    expected, _ = prepare_xray(counts, model, mask_collimator=False)
    assert float(torch.corrcoef(torch.stack([found.ravel(), expected.ravel()]))[0, 1]) > 0.9
    (warning,) = offset_warning(signed, model)
    assert '% of the pixels are negative' in warning
    assert offset_warning(counts, model) == ()


def test_a_few_negative_pixels_are_noise_and_line_integrals_may_be_negative():
    pixels = torch.full((64, 64), 100.0)
    pixels[0, :30] = -3
    assert offset_of_zero(pixels, IntensityModel()) == 0
    assert offset_of_zero(pixels - 200, IntensityModel('line_integral')) == 0
    assert offset_of_zero(pixels - 200, IntensityModel(i0=50.0)) == 0
    assert offset_of_zero(pixels - 200, IntensityModel()) == 203


def test_the_negative_of_16_bit_counts_is_turned_about_their_range():
    counts = torch.linspace(300, 50_000, 400).round().reshape(20, 20)
    found = line_integrals(65535 - counts, IntensityModel(bright_air=False))
    assert torch.allclose(found, line_integrals(counts, IntensityModel()), atol=1e-3)
