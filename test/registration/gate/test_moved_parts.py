"""Where windows of an X-ray lie off the rendering together, something has moved."""

import pytest
import torch

from sph_reg_ros.registration.gate.moved_parts import WindowMap, clusters, own_shifts, smooth_field
from sph_reg_ros.registration.gate.window_shifts import WINDOW_STEPS, grid_shifts

SIZE, STEP, REACH, MM = 128, 5, 6, 1.6
WINDOW = WINDOW_STEPS * STEP


def texture(seed: int = 0, size: int = SIZE) -> torch.Tensor:
    """An image with structure of all sizes from 3 pixels on."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.zeros(size, size)
    for cells in (8, 16, 40):
        noise = torch.randn(1, 1, cells, cells, generator=generator)
        part = torch.nn.functional.interpolate(
            noise, (size, size), mode='bicubic', align_corners=True
        )
        image += part[0, 0]
    return image


def window_map(xray: torch.Tensor, image: torch.Tensor) -> WindowMap:
    mask = torch.ones(xray.shape, dtype=torch.bool)
    shifts = grid_shifts(xray, image, mask, STEP, REACH)
    columns = xray.shape[1] // STEP - WINDOW_STEPS + 1
    return WindowMap(own_shifts(shifts, columns, MM), STEP, MM)


def with_block(image: torch.Tensor, du: int, dv: int) -> torch.Tensor:
    """Move what is in the middle third of an image."""
    xray, third = image.clone(), slice(SIZE // 3, 2 * SIZE // 3)
    moved = torch.roll(image, (dv, du), (0, 1))
    xray[third, third] = moved[third, third]
    return xray


def noisy(image: torch.Tensor) -> torch.Tensor:
    return image + 0.1 * torch.randn(image.shape, generator=torch.Generator().manual_seed(1))


def test_what_lies_on_the_rendering_has_not_moved():
    image = texture()
    assert clusters(window_map(noisy(2.0 * image + 1.0), image)) == []


def test_a_part_that_has_moved_is_found_where_it_is_with_its_shift():
    image = texture()
    windows = window_map(noisy(with_block(image, 3, -2)), image)
    (part,) = clusters(windows)
    shift = windows.shift_mm[part].mean(0)
    assert torch.allclose(shift, torch.tensor([3 * MM, -2 * MM]), atol=0.5)
    rows, columns = part.nonzero().unbind(1)
    middle = (SIZE / 2 - WINDOW / 2) / STEP
    assert abs(float(rows.float().mean()) - middle) < 1
    assert abs(float(columns.float().mean()) - middle) < 1


def test_a_shift_and_a_stretch_of_the_whole_image_are_no_part_that_has_moved():
    image = texture(size=140)
    u = torch.linspace(-1, 1, SIZE)
    v, u = torch.meshgrid(u * 0.88, u * 0.93 + 0.02, indexing='ij')
    stretched = torch.nn.functional.grid_sample(
        image[None, None], torch.stack([u, v], -1)[None], align_corners=True
    )[0, 0]
    straight = torch.nn.functional.grid_sample(
        image[None, None],
        torch.stack(torch.meshgrid(*[torch.linspace(-1, 1, SIZE) * 0.9] * 2, indexing='xy'), -1)[
            None
        ],
        align_corners=True,
    )[0, 0]
    assert clusters(window_map(noisy(stretched), straight)) == []


def test_what_the_ct_lacks_has_not_moved():
    image = texture()
    xray = image.clone()
    xray[30:70, 40:90] = 3.0 * texture(5)[30:70, 40:90]
    assert clusters(window_map(noisy(xray), image)) == []


def test_where_most_of_the_image_lies_elsewhere_nothing_is_said_to_have_moved():
    """The pose is wrong there, and no part is."""
    image = texture()
    xray = image.clone()
    for place, (du, dv) in enumerate(((3, 2), (-3, 1), (2, -3), (-2, -3))):
        rows = slice(32 * place, 32 * place + 32)
        xray[rows] = torch.roll(image, (dv, du), (0, 1))[rows]
    assert clusters(window_map(xray, image)) == []


def test_a_lens_that_distorts_has_moved_no_part():
    image = texture()
    v, u = torch.meshgrid(*[torch.linspace(-1, 1, SIZE)] * 2, indexing='ij')
    bent = 1 + 0.02 * (u.square() + v.square()) - 0.013
    xray = torch.nn.functional.grid_sample(
        image[None, None],
        torch.stack([u * bent, v * bent], -1)[None],
        align_corners=True,
        padding_mode='border',
    )[0, 0]
    assert clusters(window_map(noisy(xray), image)) == []


@pytest.mark.parametrize('outliers', [0, 30])
def test_the_smooth_field_is_that_of_most_windows(outliers):
    v, u = torch.meshgrid(torch.linspace(-1, 1, 15), torch.linspace(-1, 1, 15), indexing='ij')
    field = torch.stack([0.5 + 0.3 * u, 0.2 * v - 0.1 * u], -1)
    shift = field.clone()
    shift.view(-1, 2)[:outliers] += 4.0
    shift[7, 7] = torch.nan
    assert torch.allclose(smooth_field(shift), field, atol=0.12)
