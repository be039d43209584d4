"""Pictures of a rendering on an X-ray."""

import numpy as np

from sph_reg_ros.evaluation.overlay import (
    EDGE_COLOUR,
    blended,
    checkerboard,
    levelled,
    overlay,
    thin_edges,
)


def disc(column: float = 40.0) -> np.ndarray:
    v, u = np.mgrid[:60, :80]
    return np.clip(20 - np.hypot(v - 30, u - column), 0, 4).astype(np.float32)


def coloured(picture: np.ndarray) -> np.ndarray:
    return (picture == EDGE_COLOUR).all(axis=-1)


def test_edges_are_thin_and_lie_on_the_outline():
    v, u = np.nonzero(thin_edges(disc()))
    radii = np.hypot(u - 40, v - 30)
    assert len(radii) > 60
    assert np.abs(radii - 18).max() < 3
    assert thin_edges(disc()).mean() < 0.1


def test_the_colour_follows_the_rendering_and_the_grey_the_xray():
    picture = overlay(disc(40), disc(50))
    _, u = np.nonzero(coloured(picture))
    assert abs(u.mean() - 50) < 1
    assert (coloured(picture) == thin_edges(disc(50))).all()
    assert picture[30, 40].max() > 200 and picture[2, 2].max() == 0


def test_without_a_rendering_nothing_is_coloured():
    assert not coloured(overlay(disc(), None)).any()


def test_an_image_without_contrast_is_no_error():
    flat = np.ones((8, 9), np.float32)
    picture = overlay(flat, flat)
    assert picture.dtype == np.uint8 and picture.shape == (8, 9, 3)
    assert not coloured(picture).any()


def test_where_both_agree_the_blend_is_grey_and_elsewhere_it_has_the_colour_of_one():
    same, apart = blended(disc(), disc()), blended(disc(25), disc(55))
    assert (same == same[..., :1]).all()
    red, green, blue = np.moveaxis(apart.astype(int), -1, 0)
    assert green[30, 25] == blue[30, 25] > red[30, 25]
    assert red[30, 55] > green[30, 55]


def test_a_checkerboard_shows_both_images_in_turn():
    picture = checkerboard(disc(), np.zeros_like(disc()), squares=8)
    assert picture[25, 45].max() > 0 and picture[25, 35].max() == 0
    assert (checkerboard(disc(), disc(), 8) == checkerboard(disc(), disc(), 1)).all()


def test_what_lies_outside_the_mask_takes_no_grey_levels():
    xray = disc()
    xray[:, :10] = 50.0
    mask = np.ones(xray.shape, bool)
    mask[:, :10] = False
    assert levelled(xray, mask).max() <= 4.0
    assert levelled(xray, None) is xray
