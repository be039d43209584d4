"""The contact sheet: edges where the image has them, a small readable file."""

import numpy as np
from PIL import Image

from sph_reg_ros.demo.contact_sheet import Tile, save_contact_sheet


def disc(radius: float = 20.0) -> np.ndarray:
    v, u = np.mgrid[:64, :64] - 31.5
    return np.clip(radius - np.hypot(u, v), 0, 4).astype(np.float32)


def test_a_sheet_of_ten_images_is_written_below_a_megabyte(tmp_path):
    counts = np.random.default_rng(0).integers(1, 60_000, (64, 64)).astype(np.uint16)
    tiles = [Tile(f'{n}', counts, disc(), disc() if n else None, 'a', 'b') for n in range(10)]
    path = tmp_path / 'demo' / 'sheet.png'
    save_contact_sheet(tiles, path)
    with Image.open(path) as image:
        assert image.width > 1000
    assert path.stat().st_size < 1_500_000
