"""PNG, TIFF, JPEG and BMP X-rays, and files that are none."""

import cv2
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from xray_files import gradient

from sph_reg_ros.errors import ErrorCode, ImageError
from sph_reg_ros.geometry import Camera
from sph_reg_ros.imaging.xray.file_kind import READABLE
from sph_reg_ros.imaging.xray.read import parse_xray


def values(dtype):
    if np.dtype(dtype).kind == 'f':
        return (gradient() / 7).astype(dtype)
    return (gradient() % (200 if dtype == np.uint8 else 65535)).astype(dtype)


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
@pytest.mark.parametrize('suffix', ['.png', '.tif'])
def test_integer_pixels_come_back_exactly(tmp_path, dtype, suffix):
    path = tmp_path / f'a{suffix}'
    Image.fromarray(values(dtype)).save(path)
    xray = parse_xray(path)
    assert torch.equal(xray.pixels, torch.from_numpy(values(dtype).astype(np.float32)))
    assert bool(xray.mask.all()) and xray.camera is None and xray.camera_from_ct is None


@pytest.mark.parametrize('byteorder', ['<', '>'])
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.float32])
def test_tiffs_of_both_byte_orders_come_back_exactly(tmp_path, dtype, byteorder):
    path = tmp_path / 'a.tiff'
    tifffile.imwrite(path, values(dtype), byteorder=byteorder)
    assert torch.equal(parse_xray(path).pixels, torch.from_numpy(values(dtype).astype(np.float32)))


def test_a_page_of_a_tiff_is_chosen_and_a_missing_one_is_refused(tmp_path):
    path = tmp_path / 'a.tif'
    tifffile.imwrite(path, gradient((3, 24, 32)), photometric='minisblack')
    pixels = torch.from_numpy(gradient((3, 24, 32))[2].astype(np.float32))
    assert torch.equal(parse_xray(path, frame=2).pixels, pixels)
    with pytest.raises(ImageError) as caught:
        parse_xray(path, frame=3)
    assert caught.value.code == ErrorCode.IMAGE_LAYOUT


@pytest.mark.parametrize('channels', [2, 3, 4])
def test_colour_is_read_only_if_it_is_grey(tmp_path, channels):
    grey = np.repeat(values(np.uint8)[..., None], channels, axis=2)
    Image.fromarray(grey).save(tmp_path / 'grey.png')
    pixels = torch.from_numpy(values(np.uint8).astype(np.float32))
    assert torch.equal(parse_xray(tmp_path / 'grey.png').pixels, pixels)
    if channels > 2:
        grey[3, 4, 1] ^= 3
        Image.fromarray(grey).save(tmp_path / 'rounded.png')
        assert (parse_xray(tmp_path / 'rounded.png').pixels - pixels).abs().max() <= 3
        grey[3, 4, 1] ^= 64
        Image.fromarray(grey).save(tmp_path / 'colour.png')
        with pytest.raises(ImageError) as caught:
            parse_xray(tmp_path / 'colour.png')
        assert caught.value.code == ErrorCode.IMAGE_ENCODING


def test_the_callers_camera_is_kept(tmp_path):
    Image.fromarray(values(np.uint8)).save(tmp_path / 'a.png')
    camera = Camera.from_geometry(1000.0, (0.5, 0.5), (24, 32))
    assert parse_xray(tmp_path / 'a.png', camera=camera).camera is camera


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
        parse_xray(path)
    assert caught.value.code == ErrorCode.IMAGE_UNREADABLE


def test_text_and_a_folder_are_refused(tmp_path):
    (tmp_path / 'a.png').write_text('no picture' * 40)
    for path in (tmp_path / 'a.png', tmp_path):
        with pytest.raises(ImageError) as caught:
            parse_xray(path)
        assert caught.value.code == ErrorCode.IMAGE_UNREADABLE


@pytest.mark.parametrize('byteorder', ['<', '>'])
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_a_tiff_in_which_zero_is_white_is_turned_over(tmp_path, dtype, byteorder):
    pixels = values(dtype)
    path = tmp_path / 'a.tif'
    negative = np.iinfo(dtype).max - pixels
    tifffile.imwrite(path, negative, photometric='miniswhite', byteorder=byteorder)
    assert torch.equal(parse_xray(path).pixels, torch.from_numpy(pixels.astype(np.float32)))


@pytest.mark.parametrize('dtype', [np.int8, np.int16, np.int32, np.uint32])
def test_signs_and_wide_numbers_of_a_tiff_are_kept(tmp_path, dtype):
    info = np.iinfo(dtype)
    pixels = np.linspace(info.min, info.max, 24 * 32).reshape(24, 32).astype(dtype)
    tifffile.imwrite(tmp_path / 'a.tif', pixels, photometric='minisblack')
    assert (parse_xray(tmp_path / 'a.tif').pixels.numpy() == pixels.astype(np.float32)).all()


@pytest.mark.parametrize('byteorder', ['<', '>'])
def test_a_tiff_of_64_bit_floats_is_read(tmp_path, byteorder):
    tifffile.imwrite(tmp_path / 'a.tif', gradient((2, 24, 32)) / 7, byteorder=byteorder,
                     photometric='minisblack')  # fmt: skip
    xray = parse_xray(tmp_path / 'a.tif', frame=1)
    assert np.allclose(xray.pixels.numpy(), gradient((2, 24, 32))[1] / 7)
    with pytest.raises(ImageError, match='2 pages'):
        parse_xray(tmp_path / 'a.tif', frame=2)


@pytest.mark.parametrize('dtype', [np.float16, np.int64])
@pytest.mark.parametrize('big', [False, True])
def test_numbers_of_a_tiff_that_are_not_read_are_named(tmp_path, dtype, big):
    tifffile.imwrite(
        tmp_path / 'a.tif', gradient().astype(dtype), bigtiff=big, photometric='minisblack'
    )
    kind = f'{8 * np.dtype(dtype).itemsize} bit (floating|signed)'
    with pytest.raises(ImageError, match=kind) as caught:
        parse_xray(tmp_path / 'a.tif')
    assert caught.value.code == ErrorCode.IMAGE_UNREADABLE


def test_three_images_written_as_colours_of_16_bit_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / 'a.tif', gradient((3, 24, 32)), photometric='rgb')
    with pytest.raises(ImageError, match='3 samples of 16 bit'):
        parse_xray(tmp_path / 'a.tif')


def test_pages_say_which_one_is_used(tmp_path):
    tifffile.imwrite(tmp_path / 'a.tif', gradient((3, 24, 32)), photometric='minisblack')
    assert parse_xray(tmp_path / 'a.tif', frame=1).warnings == ('frame 1 of 0 to 2 is used',)
    np.save(tmp_path / 'a.npy', gradient((3, 24, 32)))
    assert parse_xray(tmp_path / 'a.npy').warnings == ('frame 0 of 0 to 2 is used',)
    with pytest.raises(ImageError, match='3 pages'):
        parse_xray(tmp_path / 'a.tif', frame=3)


def test_jpeg_and_bmp_are_read(tmp_path):
    smooth = np.linspace(0, 255, 64 * 64).reshape(64, 64).astype(np.uint8)
    Image.fromarray(smooth).save(tmp_path / 'a.bmp')
    Image.fromarray(smooth).save(tmp_path / 'a.jpg', quality=95)
    assert (parse_xray(tmp_path / 'a.bmp').pixels.numpy() == smooth).all()
    assert np.abs(parse_xray(tmp_path / 'a.jpg').pixels.numpy() - smooth).max() < 4


def test_an_orientation_in_the_file_is_applied(tmp_path):
    image = Image.fromarray(values(np.uint8))
    exif = image.getexif()
    exif[274] = 6
    image.save(tmp_path / 'a.png', exif=exif)
    assert (parse_xray(tmp_path / 'a.png').pixels.numpy() == np.rot90(values(np.uint8), -1)).all()


@pytest.mark.parametrize('orientation', [3, 5, 6, 7, 8])
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize('compression', [None, 'tiff_lzw'])
def test_an_orientation_of_a_tiff_is_applied(tmp_path, orientation, dtype, compression):
    image = values(dtype)
    turned = {
        3: image[::-1, ::-1],
        5: image.T,
        6: np.rot90(image, -1),
        7: image[::-1, ::-1].T,
        8: np.rot90(image),
    }[orientation]
    tags = {274: orientation}
    Image.fromarray(image).save(tmp_path / 'a.tif', compression=compression, tiffinfo=tags)
    assert np.array_equal(parse_xray(tmp_path / 'a.tif').pixels.numpy(), turned)


@pytest.mark.parametrize('channels', [3, 4])
def test_a_png_of_16_bit_in_colour_keeps_them_if_it_is_grey(tmp_path, channels):
    colours = np.repeat(values(np.uint16)[..., None], channels, axis=2)
    cv2.imwrite(str(tmp_path / 'a.png'), colours)
    assert np.array_equal(parse_xray(tmp_path / 'a.png').pixels.numpy(), values(np.uint16))
    colours[3, 4, 1] += 1000
    cv2.imwrite(str(tmp_path / 'a.png'), colours)
    with pytest.raises(ImageError, match='colour'):
        parse_xray(tmp_path / 'a.png')


OTHER_KINDS = {
    'a.npz': (b'PK\x03\x04' + bytes(60), 'zip'),
    'a.nrrd': (b'NRRD0004\n# Complete NRRD', 'NRRD'),
    'a.mha': (b'ObjectType = Image\nNDims = 2\n', 'MetaImage'),
    'a.nii.gz': (b'\x1f\x8b\x08' + bytes(60), 'NIfTI'),
    'a.nii': (b'\x5c\x01\x00\x00' + bytes(344), 'NIfTI'),
    'a.pdf': (b'%PDF-1.4 \xff\xfe', 'PDF'),
    'empty.png': (b'', 'empty'),
    'text.png': (b'hello', 'text'),
    'wörter.txt': ('Größe ' * 400).encode(),
    'noise.bin': (bytes(range(128, 256)) * 3, 'unknown kind'),
}


@pytest.mark.parametrize('name', OTHER_KINDS)
def test_what_is_not_read_is_named_with_the_formats_that_are(tmp_path, name):
    given = OTHER_KINDS[name]
    content, kind = given if isinstance(given, tuple) else (given, 'text')
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageError, match=kind) as caught:
        parse_xray(tmp_path / name)
    assert READABLE in str(caught.value) and name in str(caught.value)
    assert caught.value.code == ErrorCode.IMAGE_UNREADABLE
