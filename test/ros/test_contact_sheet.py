"""The contact sheet: edges where the image has them, a small readable file."""

import numpy as np
from PIL import Image

from sph_reg_ros.ros.contact_sheet import (
    AFTER,
    Tile,
    edges_on_xray,
    save_contact_sheet,
    thin_edges,
)


def disc(radius: float = 20.0) -> np.ndarray:
    v, u = np.mgrid[:64, :64] - 31.5
    return np.clip(radius - np.hypot(u, v), 0, 4).astype(np.float32)


def test_edges_are_thin_and_lie_on_the_outline():
    edges = thin_edges(disc())
    v, u = np.nonzero(edges)
    radii = np.hypot(u - 31.5, v - 31.5)
    assert len(radii) > 60
    assert np.abs(radii - 18).max() < 3
    assert edges.mean() < 0.1


def test_dense_tissue_is_bright_and_edges_have_their_colour():
    counts = np.where(disc() > 2, 500, 50_000).astype(np.uint16)
    plain, with_edges = edges_on_xray(counts, None, AFTER), edges_on_xray(counts, disc(), AFTER)
    assert plain[32, 32].min() > 150 > 50 > plain[2, 2].max()
    assert (with_edges == AFTER).all(axis=-1).sum() == thin_edges(disc()).sum()


def test_a_sheet_of_ten_images_is_written_below_a_megabyte(tmp_path):
    counts = np.random.default_rng(0).integers(1, 60_000, (64, 64)).astype(np.uint16)
    tiles = [Tile(f'{n}', counts, disc(), disc() if n else None, 'a', 'b') for n in range(10)]
    path = tmp_path / 'demo' / 'sheet.png'
    save_contact_sheet(tiles, path)
    with Image.open(path) as image:
        assert image.width > 1000
    assert path.stat().st_size < 1_500_000
