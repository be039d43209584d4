"""Copies of images that are shifted by whole pixels."""

import torch

from sph_reg_ros.similarity.shifted import SHIFTS_PX, shifted


def test_each_copy_is_the_image_seen_some_pixels_farther_on():
    images = torch.arange(2 * 9 * 8.0).reshape(2, 9, 8)
    copies = shifted(images)
    assert copies.shape == (2, len(SHIFTS_PX), 9, 8)
    for number, (right, down) in enumerate(SHIFTS_PX):
        for row, column in ((4, 3), (5, 4)):
            expected = images[:, row + down, column + right]
            assert torch.equal(copies[:, number, row, column], expected)


def test_borders_go_on_where_the_image_has_left_the_field():
    image = torch.arange(9.0).expand(7, 9)
    for copy, (right, _) in zip(shifted(image), SHIFTS_PX, strict=True):
        assert torch.equal(copy[0], (torch.arange(9.0) + right).clamp(0, 8))


def test_shifts_leave_the_image_where_it_is_on_average():
    assert torch.tensor(SHIFTS_PX).sum(0).tolist() == [0, 0]
