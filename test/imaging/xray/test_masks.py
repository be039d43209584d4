"""Saturated pixels and simple shapes."""

import pytest
import torch

from sph_reg_ros.imaging.xray.masks import (
    inside_circle,
    inside_polygon,
    inside_rectangle,
    saturation_mask,
)


def noisy(low=100.0, high=200.0, size=(60, 80)):
    return torch.rand(*size, generator=torch.Generator().manual_seed(0)) * (high - low) + low


@pytest.mark.parametrize('full_scale', [255.0, 1023.0, 4095.0, 16383.0, 65535.0])
def test_full_scale_and_zero_are_saturated_even_in_one_pixel(full_scale):
    pixels = noisy().round()
    pixels[3, 4], pixels[5, 6] = full_scale, 0.0
    mask = saturation_mask(pixels)
    assert not mask[3, 4] and not mask[5, 6] and int((~mask).sum()) == 2


def test_a_plateau_at_another_value_is_saturated_and_a_single_maximum_is_not():
    pixels = noisy(100, 50000).round()
    assert bool(saturation_mask(pixels).all())
    clipped = pixels.clamp(2000, 40000)
    assert torch.equal(saturation_mask(clipped), (clipped > 2000) & (clipped < 40000))


def test_a_flat_background_of_a_float_rendering_is_no_saturation():
    pixels = noisy(0.2, 0.9)
    pixels[:, :40] = 1.0
    assert bool(saturation_mask(pixels).all())


def test_shapes_are_the_pixels_they_contain():
    assert inside_rectangle((5, 6), (1, 3), (2, 4)).sum() == 9
    circle = inside_circle((101, 101), (50, 50), 30)
    assert float(circle.sum()) == pytest.approx(torch.pi * 900, rel=0.01)
    vertices = torch.tensor([[0.5, 0.5], [0.5, 4.5], [3.5, 4.5], [3.5, 0.5]])
    polygon = inside_polygon((6, 6), vertices)
    assert torch.equal(polygon, inside_rectangle((6, 6), (1, 3), (1, 4)))


def test_a_notch_in_a_polygon_is_outside():
    vertices = torch.tensor([[0, 0], [0, 20], [20, 20], [10, 10], [20, 0]], dtype=torch.float64)
    polygon = inside_polygon((21, 21), vertices)
    assert polygon[5, 10] and polygon[15, 18] and polygon[15, 2] and not polygon[15, 10]
