"""From an X-ray's pixels to what a registration compares."""

import math

import pytest
import torch

from sph_reg_ros.errors import CameraError, ErrorCode, ImageError
from sph_reg_ros.geometry import Camera
from sph_reg_ros.imaging.xray.intensity import IntensityModel, pixels_from_line_integrals
from sph_reg_ros.imaging.xray.prepare import prepare_xray
from sph_reg_ros.imaging.xray.xray_image import XRay

SIZE = 128


def ball(size=SIZE):
    v, u = torch.meshgrid(*[torch.linspace(-1, 1, size)] * 2, indexing='ij')
    return 3 * (0.64 - u**2 - v**2).clamp(min=0).sqrt()


def round_field(size=SIZE):
    v, u = torch.meshgrid(*[torch.linspace(-1, 1, size)] * 2, indexing='ij')
    return u**2 + v**2 < 0.95**2


@pytest.mark.parametrize('kind', ['beer_lambert', 'line_integral'])
def test_a_clean_image_gives_its_line_integrals_and_keeps_every_pixel(kind):
    model = IntensityModel(kind, None)
    integrals, mask = prepare_xray(pixels_from_line_integrals(ball(), model), model)
    torch.testing.assert_close(integrals, ball(), atol=1e-5, rtol=0)
    assert bool(mask.all())


def test_a_collimated_noisy_16_bit_image_gives_its_line_integrals_inside_the_field():
    counts = 50000 * torch.exp(-ball())
    counts = torch.where(round_field(), counts, 300.0)
    pixels = torch.poisson(counts, generator=torch.Generator().manual_seed(0))
    integrals, mask = prepare_xray(pixels, IntensityModel())
    assert float((mask & ~round_field()).sum()) == 0
    assert float(mask.sum()) > 0.9 * float(round_field().sum())
    error = (integrals - ball())[mask]
    # The estimated beam sits at the top of the noise of the air: 1 / sqrt(50000) of it a sigma.
    assert abs(float(error.mean())) < 0.02 and float(error.abs().max()) < 0.15


def test_saturated_air_is_masked_but_serves_as_the_open_beam():
    pixels = (5000 * torch.exp(-ball())).round().clamp(max=4095)
    integrals, mask = prepare_xray(pixels, IntensityModel())
    assert not mask[pixels == 4095].any()
    # Next to a sharp edge a pixel is lost as well: it may be that of a letter.
    assert float(mask[pixels < 4095].float().mean()) > 0.9
    expected = ball() - math.log(5000 / 4095)
    torch.testing.assert_close(integrals[mask], expected[mask], atol=2e-3, rtol=0)


def test_each_mask_can_be_turned_off():
    pixels = torch.where(round_field(), 50000 * torch.exp(-ball()), 300.0).round()
    pixels = pixels.clamp(max=45000)
    off = prepare_xray(pixels, IntensityModel(), mask_saturation=False, mask_collimator=False)[1]
    blades = prepare_xray(pixels, IntensityModel(), mask_saturation=False)[1]
    clipped = prepare_xray(pixels, IntensityModel(), mask_collimator=False)[1]
    assert bool(off.all())
    assert not blades[~round_field()].any() and blades[64, 64] and blades[pixels == 45000].any()
    assert not clipped[pixels == 45000].any()


def test_a_given_mask_is_only_ever_narrowed_and_not_written_to():
    given = torch.ones(SIZE, SIZE, dtype=torch.bool)
    given[:, :20] = False
    before = given.clone()
    pixels = (5000 * torch.exp(-ball())).round().clamp(max=4095)
    mask = prepare_xray(pixels, IntensityModel(), mask=given)[1]
    assert torch.equal(given, before)
    assert not mask[:, :20].any() and not mask[~given].any()


def test_a_negative_is_turned_over_before_the_collimator_is_looked_for():
    counts = torch.where(round_field(), 50000 * torch.exp(-0.5 * ball()), 300.0)
    pixels = 65535 - counts.round()
    mask = prepare_xray(pixels, IntensityModel(bright_air=False))[1]
    assert float((mask & ~round_field()).sum()) == 0 and bool(mask[64, 64])


@pytest.mark.parametrize(
    'pixels',
    [
        torch.full((SIZE, SIZE), 65535.0),
        torch.zeros(SIZE, SIZE),
        ball().where(ball() < 1, torch.nan),
        ball().where(ball() < 1, torch.inf),
        65535.0 * (ball() > 1),
    ],
    ids=['saturated', 'black', 'NaN', 'infinite', 'only black and white'],
)
def test_an_image_that_shows_nothing_is_refused_in_words(pixels):
    with pytest.raises(ImageError, match='constant|NaN|saturated') as caught:
        prepare_xray(pixels, IntensityModel())
    assert caught.value.code == ErrorCode.IMAGE_CONTENT


def test_an_empty_mask_and_a_mask_of_another_size_are_refused():
    with pytest.raises(ImageError) as caught:
        prepare_xray(ball(), IntensityModel(), mask=torch.zeros(SIZE, SIZE, dtype=torch.bool))
    assert caught.value.code == ErrorCode.IMAGE_CONTENT
    with pytest.raises(ImageError) as caught:
        prepare_xray(ball(), IntensityModel(), mask=torch.ones(3, 3, dtype=torch.bool))
    assert caught.value.code == ErrorCode.IMAGE_LAYOUT


def test_an_xray_whose_parts_do_not_fit_is_refused():
    good = torch.ones(4, 5, dtype=torch.bool)
    with pytest.raises(ImageError):
        XRay(torch.zeros(4, 5, 3), good)
    with pytest.raises(ImageError):
        XRay(torch.zeros(5, 4), good)
    with pytest.raises(CameraError):
        XRay(torch.zeros(4, 5), good, Camera.from_geometry(1000.0, (1.0, 1.0), (5, 4)))


def test_line_integrals_in_whole_numbers_have_no_saturated_air():
    mask = prepare_xray((1000 * ball()).round(), IntensityModel('line_integral'))[1]
    assert bool(mask.all())
