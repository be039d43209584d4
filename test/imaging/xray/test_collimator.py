"""The exposed field of collimated X-rays."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sph_reg_ros.imaging.xray.collimator import collimator_mask

SIZE = 192
seeds = st.integers(0, 10_000)
offset = st.floats(-0.1, 0.1)


def transmission(seed, attenuation, shape=(SIZE, SIZE)):
    """Return exp(-L) of six random ellipsoids, some of which the image cuts off."""
    random = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in shape), indexing='ij')
    integrals = torch.zeros(shape)
    for _ in range(6):
        centre, radius, weight = torch.rand(3, 2, generator=random)
        u, v = ((p - 2 * c + 1) / (0.2 + 0.8 * r) for p, c, r in zip((x, y), centre, radius))  # noqa: B905
        integrals += attenuation * weight[0] * (1 - u**2 - v**2).clamp(min=0).sqrt()
    return torch.exp(-integrals)


def exposed(beam, field, seed, photons=2000.0, leak=0.01):
    counts = photons * torch.where(field, beam, leak * beam.mean())
    return torch.poisson(counts, generator=torch.Generator().manual_seed(seed))


def rectangle(shape, centre, size, angle):
    v, u = torch.meshgrid(*(torch.arange(n).float() for n in shape), indexing='ij')
    down, right = v - centre[0] * shape[0], u - centre[1] * shape[1]
    c, s = math.cos(angle), math.sin(angle)
    across, along = (c * right + s * down).abs(), (c * down - s * right).abs()
    return (across <= size[1] * shape[1] / 2) & (along <= size[0] * shape[0] / 2)


def circle(shape, centre, radius):
    v, u = torch.meshgrid(*(torch.arange(n).float() for n in shape), indexing='ij')
    return torch.hypot(v - centre[0] * shape[0], u - centre[1] * shape[1]) <= radius * shape[0]


def assert_is_field(mask, field, overlap=0.85):
    # A rim of one pixel along one side, at most.
    assert float((mask & ~field).sum()) <= 0.01 * float((~field).sum()), 'shadow counted as field'
    shared = float((mask & field).sum()) / float((mask | field).sum())
    assert shared >= overlap, f'only {shared:.2f} of the field was found'


@settings(deadline=None, max_examples=12)
@given(seeds, offset, offset, st.floats(0.5, 0.85), st.floats(0.5, 0.85), st.floats(0, math.pi))
def test_a_rectangle_is_found_at_any_angle(seed, down, right, height, width, angle):
    field = rectangle((SIZE, SIZE), (0.5 + down, 0.5 + right), (height, width), angle)
    mask = collimator_mask(exposed(transmission(seed, 1.0), field, seed))
    assert_is_field(mask, field)


@settings(deadline=None, max_examples=12)
@given(seeds, offset, offset, st.floats(0.28, 0.6))
def test_a_round_aperture_is_found_whole_or_cut_off_by_the_image(seed, down, right, radius):
    field = circle((SIZE, SIZE), (0.5 + down, 0.5 + right), radius)
    mask = collimator_mask(exposed(transmission(seed, 1.0), field, seed))
    assert_is_field(mask, field)


@pytest.mark.parametrize('sides', [(0, 1), (1, 0)])
def test_two_blades_leave_the_other_two_sides_untouched(sides):
    shape = (180, 260)
    size = [0.6 if side else 3.0 for side in sides]
    field = rectangle(shape, (0.5, 0.5), size, 0.0)
    mask = collimator_mask(exposed(transmission(3, 1.0, shape), field, 3))
    assert_is_field(mask, field)
    middle = mask[:, 130] if sides[1] else mask[90]
    assert bool(middle.all())


def test_letters_in_the_shadow_do_not_widen_the_field():
    field = circle((SIZE, SIZE), (0.5, 0.5), 0.35)
    image = exposed(transmission(5, 1.0), field, 5)
    image[6:12, 8:11] = 2000.0
    assert_is_field(collimator_mask(image), field)


@settings(deadline=None, max_examples=20)
@given(seeds, st.floats(0.3, 8.0), st.sampled_from([50.0, 2000.0, 60000.0]))
def test_a_full_field_image_loses_at_most_two_percent(seed, attenuation, photons):
    everything = torch.ones(SIZE, SIZE, dtype=torch.bool)
    mask = collimator_mask(exposed(transmission(seed, attenuation), everything, seed, photons))
    assert float(mask.float().mean()) >= 0.98


def test_a_body_that_fills_half_the_image_with_a_soft_edge_is_no_shadow():
    v = torch.linspace(-1, 1, SIZE)[:, None].expand(SIZE, SIZE)
    assert bool(collimator_mask(1000 * torch.exp(-6 * torch.sigmoid(4 * v))).all())


@pytest.mark.parametrize('image', [torch.ones(8, 8), torch.ones(64, 64), torch.zeros(64, 64)])
def test_an_image_without_contrast_is_all_field(image):
    assert bool(collimator_mask(image).all())


def test_the_exposure_does_not_matter():
    field = circle((SIZE, SIZE), (0.5, 0.5), 0.4)
    image = exposed(transmission(1, 1.0), field, 1)
    assert torch.equal(collimator_mask(image), collimator_mask(image * 1e-4))


def test_two_bright_lungs_in_an_even_dark_body_are_no_field():
    lungs = circle((SIZE, SIZE), (0.5, 0.22), 0.15) | circle((SIZE, SIZE), (0.5, 0.78), 0.15)
    assert bool(collimator_mask(torch.where(lungs, 1000.0, 20.0)).all())


@pytest.mark.parametrize('seed', [0, 2, 13, 15, 25])
def test_the_edge_of_a_filter_over_an_uneven_body_is_no_blade(seed):
    u, v = torch.arange(SIZE)[None, :], torch.arange(SIZE)[:, None]
    beam = torch.where(u + 0.3 * v > 60 + seed, 1.0, 0.25) * transmission(seed, 1.0)
    everything = torch.ones(SIZE, SIZE, dtype=torch.bool)
    assert bool(collimator_mask(exposed(beam, everything, seed)).all())
