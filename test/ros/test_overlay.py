"""The overlay picture."""

import numpy as np

from sph_reg_ros.ros.overlay import EDGE_COLOUR, overlay


def disc(column: float) -> np.ndarray:
    v, u = np.mgrid[:60, :80]
    return np.maximum(0, 20**2 - (v - 30) ** 2 - (u - column) ** 2).astype(np.float32)


def coloured(picture: np.ndarray) -> np.ndarray:
    return picture.std(-1) > 1


def test_edges_of_the_rendering_are_coloured_where_they_are_and_nowhere_else():
    v, u = np.nonzero(coloured(overlay(disc(40), disc(40))))
    radius = np.hypot(v - 30, u - 40)
    assert 17 < radius.min() and radius.max() < 23 and len(v) > 100


def test_the_colour_follows_the_rendering_and_the_grey_the_xray():
    picture = overlay(disc(40), disc(55))
    _, u = np.nonzero(coloured(picture))
    assert abs(u.mean() - 55) < 2
    assert picture[30, 40].max() > 200 and picture[2, 2].max() == 0
    assert EDGE_COLOUR[0] > EDGE_COLOUR[2]


def test_an_image_without_contrast_is_no_error():
    flat = np.ones((8, 9), np.float32)
    picture = overlay(flat, flat)
    assert picture.dtype == np.uint8 and picture.shape == (8, 9, 3)
    assert not coloured(picture).any()
