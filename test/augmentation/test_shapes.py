"""What covers a part of the image: erased rectangles, collimators, instruments."""

import torch
from randomised import line_integrals, seeded

from sph_reg_ros.augmentation.erasing import erase
from sph_reg_ros.augmentation.field import collimate
from sph_reg_ros.augmentation.instruments import add_instrument

COUNT = 300


def test_erasing_fills_a_rectangle_of_2_to_40_percent_with_the_mean_of_the_image():
    images = line_integrals(COUNT, (60, 60)) + 0.01 * torch.arange(60)
    found = erase(images, seeded(), 1.0)
    erased = found != images
    means = images.mean((1, 2), keepdim=True).expand_as(images)
    assert torch.equal(found[erased], means[erased])
    share = erased.float().mean((1, 2))
    assert 0.015 < share.min() < 0.05 and 0.35 < share.max() < 0.42
    tall, wide = erased.any(2).sum(1), erased.any(1).sum(1)
    assert torch.allclose(share * 3600, (tall * wide).float())
    aspect = tall / wide
    assert 0.25 < aspect.min() < 0.4 and 2.5 < aspect.max() < 4.0
    assert 0.3 < (aspect < 1).float().mean() < 0.7


def test_erased_rectangles_lie_anywhere():
    images = line_integrals(COUNT, (30, 30)) + 0.01 * torch.arange(30)
    covered = (erase(images, seeded(), 1.0) != images).float().mean(0)
    assert covered[3:-3, 3:-3].min() > 0.02


def test_a_collimator_darkens_all_outside_its_field_and_the_field_only_loses_its_border():
    images = line_integrals(COUNT, (48, 48))
    found, is_open = collimate(images, seeded(), 1.0)
    assert torch.equal(found[is_open], images[is_open])
    assert ((found - images)[~is_open] > 4.4).all()
    share = is_open.float().mean((1, 2))
    assert share.min() > 0.2 and (share < 0.9).float().mean() > 0.3
    assert is_open[:, 20:28, 20:28].all()


def test_collimators_are_leaves_or_irises():
    _, is_open = collimate(line_integrals(COUNT, (48, 48)), seeded(), 1.0)
    corners = is_open[:, [0, 0, -1, -1], [0, -1, 0, -1]].any(1)
    # An iris of any size leaves no corner open, leaves at times do.
    assert 0.0 < corners.float().mean() < 0.6


def test_no_field_is_reported_where_no_collimator_was_closed():
    _, is_open = collimate(line_integrals(COUNT), seeded(), 0.0)
    assert is_open.all()


def test_an_instrument_adds_to_the_line_integrals_and_covers_a_small_part_of_the_image():
    images = line_integrals(COUNT, (64, 64))
    steel = add_instrument(images, seeded(), 1.0) - images
    assert steel.min() >= 0.0
    peak = steel.amax((1, 2))
    assert 4.0 < peak.max() <= 5.001
    covered = (steel > 0).float().mean((1, 2))
    assert 0.005 < covered.median() < 0.2 and covered.max() < 0.45


def test_instruments_are_of_several_kinds():
    images = torch.zeros(COUNT, 64, 64)
    steel = add_instrument(images, seeded(), 1.0)
    flat = [len(image[image > 0].unique()) == 1 for image in steel if (image > 0).sum() > 30]
    assert 0.1 < sum(flat) / len(flat) < 0.7
