"""PNG and TIFF X-rays."""

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from xray_files import gradient

from sph_reg_ros.errors import ErrorCode, ImageError
from sph_reg_ros.geometry import Camera
from sph_reg_ros.imaging.xray import load_xray


def values(dtype):
    if np.dtype(dtype).kind == 'f':
        return (gradient() / 7).astype(dtype)
    return (gradient() % (200 if dtype == np.uint8 else 65535)).astype(dtype)


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
@pytest.mark.parametrize('suffix', ['.png', '.tif'])
def test_integer_pixels_come_back_exactly(tmp_path, dtype, suffix):
    path = tmp_path / f'a{suffix}'
    Image.fromarray(values(dtype)).save(path)
    xray = load_xray(path)
    assert torch.equal(xray.pixels, torch.from_numpy(values(dtype).astype(np.float32)))
    assert bool(xray.mask.all()) and xray.camera is None and xray.camera_from_ct is None


@pytest.mark.parametrize('byteorder', ['<', '>'])
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.float32])
def test_tiffs_of_both_byte_orders_come_back_exactly(tmp_path, dtype, byteorder):
    path = tmp_path / 'a.tiff'
    tifffile.imwrite(path, values(dtype), byteorder=byteorder)
    assert torch.equal(load_xray(path).pixels, torch.from_numpy(values(dtype).astype(np.float32)))


def test_a_page_of_a_tiff_is_chosen_and_a_missing_one_is_refused(tmp_path):
    path = tmp_path / 'a.tif'
    tifffile.imwrite(path, gradient((3, 24, 32)), photometric='minisblack')
    pixels = torch.from_numpy(gradient((3, 24, 32))[2].astype(np.float32))
    assert torch.equal(load_xray(path, frame=2).pixels, pixels)
    with pytest.raises(ImageError) as caught:
        load_xray(path, frame=3)
    assert caught.value.code == ErrorCode.IMAGE_LAYOUT


@pytest.mark.parametrize('channels', [2, 3, 4])
def test_colour_is_read_only_if_it_is_grey(tmp_path, channels):
    grey = np.repeat(values(np.uint8)[..., None], channels, axis=2)
    Image.fromarray(grey).save(tmp_path / 'grey.png')
    pixels = torch.from_numpy(values(np.uint8).astype(np.float32))
    assert torch.equal(load_xray(tmp_path / 'grey.png').pixels, pixels)
    if channels > 2:
        grey[3, 4, 1] ^= 1
        Image.fromarray(grey).save(tmp_path / 'colour.png')
        with pytest.raises(ImageError) as caught:
            load_xray(tmp_path / 'colour.png')
        assert caught.value.code == ErrorCode.IMAGE_ENCODING


def test_the_callers_camera_is_kept(tmp_path):
    Image.fromarray(values(np.uint8)).save(tmp_path / 'a.png')
    camera = Camera.from_geometry(1000.0, (0.5, 0.5), (24, 32))
    assert load_xray(tmp_path / 'a.png', camera=camera).camera is camera


@pytest.mark.parametrize('name', ['a.png', 'a.tif', 'b.tif'])
@pytest.mark.parametrize('share', [0.02, 0.3, 0.9])
def test_a_file_that_is_cut_off_is_refused(tmp_path, name, share):
    path = tmp_path / name
    # Noise does not shrink, so that what is cut off is pixels.
    pixels = np.random.default_rng(0).integers(0, 65536, (24, 32), dtype=np.uint16)
    options = {'compression': 'tiff_lzw'} if name == 'a.tif' else {}
    Image.fromarray(pixels).save(path, **options)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(ImageError) as caught:
        load_xray(path)
    assert caught.value.code == ErrorCode.IMAGE_UNREADABLE


def test_text_and_a_folder_are_refused(tmp_path):
    (tmp_path / 'a.png').write_text('no picture' * 40)
    for path in (tmp_path / 'a.png', tmp_path):
        with pytest.raises(ImageError) as caught:
            load_xray(path)
        assert caught.value.code == ErrorCode.IMAGE_UNREADABLE
