"""X-rays as NumPy arrays."""

import numpy as np
import pytest
import torch
from xray_files import gradient

from sph_reg_ros.errors import ErrorCode, ImageError
from sph_reg_ros.imaging.xray.read import parse_xray


@pytest.mark.parametrize('dtype', ['<u1', '<u2', '>u2', '<i4', '<f4', '>f8'])
@pytest.mark.parametrize('order', ['C', 'F'])
def test_numbers_of_every_kind_and_order_come_back_exactly(tmp_path, dtype, order):
    pixels = np.asarray(gradient() % 200, dtype=dtype, order=order)
    path = tmp_path / 'a.npy'
    np.save(path, pixels)
    xray = parse_xray(path)
    assert torch.equal(xray.pixels, torch.from_numpy(pixels.astype('<f4')))
    assert bool(xray.mask.all()) and xray.camera is None


def test_the_content_and_not_the_name_says_that_it_is_an_array(tmp_path):
    with (tmp_path / 'a.png').open('wb') as file:
        np.save(file, gradient())
    assert parse_xray(tmp_path / 'a.png').pixels.shape == (24, 32)


def test_a_frame_is_chosen_and_a_missing_one_is_refused(tmp_path):
    frames = gradient((3, 24, 32))
    np.save(tmp_path / 'a.npy', frames)
    pixels = torch.from_numpy(frames[2].astype(np.float32))
    assert torch.equal(parse_xray(tmp_path / 'a.npy', frame=2).pixels, pixels)
    for frame in (-1, 3):
        with pytest.raises(ImageError, match='3 frames, 0 to 2') as caught:
            parse_xray(tmp_path / 'a.npy', frame=frame)
        assert caught.value.code == ErrorCode.IMAGE_LAYOUT


@pytest.mark.parametrize(
    ('array', 'code'),
    [
        (np.zeros(5), ErrorCode.IMAGE_LAYOUT),
        (np.zeros((0, 4)), ErrorCode.IMAGE_LAYOUT),
        (np.zeros((2, 2, 2, 2)), ErrorCode.IMAGE_LAYOUT),
        (np.zeros((40, 50, 1)), ErrorCode.IMAGE_LAYOUT),
        (np.zeros((40, 50, 3)), ErrorCode.IMAGE_LAYOUT),
        (np.zeros((4, 4), complex), ErrorCode.IMAGE_ENCODING),
        (np.zeros((4, 4), bool), ErrorCode.IMAGE_ENCODING),
        (np.full((4, 4), 'a'), ErrorCode.IMAGE_ENCODING),
        (np.zeros((4, 4), [('x', 'f4')]), ErrorCode.IMAGE_ENCODING),
        (np.full((4, 4), None, object), ErrorCode.IMAGE_UNREADABLE),
    ],
)
def test_what_is_no_grey_image_is_refused(tmp_path, array, code):
    np.save(tmp_path / 'a.npy', array)
    with pytest.raises(ImageError, match='a.npy') as caught:
        parse_xray(tmp_path / 'a.npy')
    assert caught.value.code == code


@pytest.mark.parametrize('length', [4, 8, 40, 200, 1000])
def test_a_file_that_is_cut_off_is_refused(tmp_path, length):
    path = tmp_path / 'a.npy'
    np.save(path, gradient())
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ImageError) as caught:
        parse_xray(path)
    assert caught.value.code == ErrorCode.IMAGE_UNREADABLE


def test_a_header_that_promises_too_much_is_refused_without_taking_the_memory(tmp_path):
    path = tmp_path / 'a.npy'
    np.save(path, gradient())
    content = path.read_bytes()
    modest, greedy = b'(24, 32), }' + b' ' * 12, b'(2400000, 3200000), }  '
    assert modest in content and len(modest) == len(greedy)
    path.write_bytes(content.replace(modest, greedy, 1))
    with pytest.raises(ImageError) as caught:
        parse_xray(path)
    assert caught.value.code == ErrorCode.IMAGE_UNREADABLE
