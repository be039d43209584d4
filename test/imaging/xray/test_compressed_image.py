"""PNG and JPEG as image_transport sends them."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sph_reg_ros.errors import ErrorCode, ImageError
from sph_reg_ros.imaging.xray.compressed_image import decode_image

RNG = np.random.default_rng(0)
SMOOTH = (np.add.outer(np.arange(40), np.arange(56)) * 2 + 20).astype(np.uint8)


def encoded(pixels: np.ndarray, form: str = 'PNG', **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format=form, **options)
    return buffer.getvalue()


def test_a_png_of_16_bit_keeps_every_count():
    pixels = RNG.integers(0, 65536, (30, 41)).astype(np.uint16)
    for transport in ('mono16; png compressed ', '16UC1; png compressed ', 'png'):
        read, warnings = decode_image(encoded(pixels), transport)
        assert np.array_equal(read, pixels) and read.dtype == np.uint16 and warnings == ()


def test_a_png_of_8_bit_keeps_every_count():
    read, warnings = decode_image(encoded(SMOOTH), 'mono8; png compressed mono8')
    assert np.array_equal(read, SMOOTH) and read.dtype == np.uint8 and warnings == ()


def test_a_jpeg_is_read_and_said_to_have_lost_detail():
    read, warnings = decode_image(encoded(SMOOTH, 'JPEG', quality=95), 'mono8; jpeg compressed ')
    assert np.abs(read.astype(int) - SMOOTH).max() <= 2
    assert 'JPEG, which loses detail' in warnings[0]


def test_a_jpeg_of_16_bit_counts_says_that_it_was_cut():
    _, warnings = decode_image(encoded(SMOOTH, 'JPEG'), 'mono16; jpeg compressed mono8')
    assert any('cut from 16 to 8 bit' in text for text in warnings)


@pytest.mark.parametrize('form', ['JPEG', 'PNG'])
@pytest.mark.parametrize('quality', [50, 80, 95])
def test_grey_in_colour_is_grey(form, quality):
    colour = np.dstack([SMOOTH] * 3)
    read, warnings = decode_image(
        encoded(colour, form, quality=quality), 'bgr8; jpeg compressed bgr8'
    )
    assert np.abs(read.astype(int) - SMOOTH).max() <= 12 and read.dtype == np.uint8
    assert not any('coloured' in text for text in warnings)


def test_transparency_and_palettes_are_dropped():
    with_alpha = np.dstack([SMOOTH] * 3 + [np.full_like(SMOOTH, 255)])
    assert np.array_equal(decode_image(encoded(with_alpha), 'rgba8; png compressed ')[0], SMOOTH)
    buffer = io.BytesIO()
    Image.fromarray(SMOOTH).convert('P').save(buffer, format='PNG')
    assert np.array_equal(decode_image(buffer.getvalue(), 'png')[0], SMOOTH)


def test_a_few_coloured_letters_are_borne_and_said():
    marked = np.dstack([SMOOTH] * 3)
    marked[2:6, 2:12] = (255, 200, 0)
    read, warnings = decode_image(encoded(marked), 'png')
    assert np.array_equal(read[8:], SMOOTH[8:]) and '% of the image is coloured' in warnings[0]


def refusal(data: bytes, transport: str = 'png') -> ImageError:
    with pytest.raises(ImageError) as caught:
        decode_image(data, transport)
    return caught.value


def test_a_coloured_picture_is_refused():
    colour = RNG.integers(0, 256, (20, 20, 3)).astype(np.uint8)
    error = refusal(encoded(colour))
    assert error.code == ErrorCode.IMAGE_ENCODING and 'publish it in grey' in str(error)


@pytest.mark.parametrize(
    'transport',
    ['16UC1; compressedDepth png', '32FC1; compressedDepth rvl', '16UC1; compressedDepth'],
)
def test_depth_transport_is_refused_by_name(transport):
    error = refusal(b'\0' * 12 + encoded(SMOOTH), transport)
    assert error.code == ErrorCode.IMAGE_ENCODING and 'publish the X-ray by' in str(error)


@pytest.mark.parametrize('data', [b'', b'hello', b'BM' + b'\0' * 60, b'\xff\xd8', b'GIF89a'])
def test_other_content_is_refused_with_what_is_read(data):
    error = refusal(data, 'jpeg')
    assert error.code in (ErrorCode.IMAGE_ENCODING, ErrorCode.IMAGE_UNREADABLE)


@pytest.mark.parametrize('form', ['PNG', 'JPEG'])
@pytest.mark.parametrize('share', [0.3, 0.9])
def test_a_picture_that_was_cut_off_is_refused(form, share):
    noise = RNG.integers(0, 256, (64, 64)).astype(np.uint8)
    data = encoded(noise, form)
    error = refusal(data[: int(share * len(data))])
    assert error.code == ErrorCode.IMAGE_UNREADABLE and 'cannot be decoded' in str(error)


def chunk(kind: bytes, content: bytes) -> bytes:
    body = kind + content
    return struct.pack('>I', len(content)) + body + struct.pack('>I', zlib.crc32(body))


def png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    header = struct.pack('>IIBBBBB', width, height, depth, colour, 0, 0, 0)
    content = chunk(b'IHDR', header) + chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b'')
    return b'\x89PNG\r\n\x1a\n' + content


@pytest.mark.parametrize('side', [8192, 30_000, 2**31 - 1])
def test_a_few_bytes_that_claim_a_huge_image_are_not_unpacked(side):
    error = refusal(png(side, side, 8, 0, b'\0' * 100))
    assert error.code in (ErrorCode.IMAGE_LAYOUT, ErrorCode.IMAGE_UNREADABLE)


@pytest.mark.parametrize(('colour', 'channels'), [(2, 3), (4, 2), (6, 4)])
def test_16_bit_in_colour_is_refused_and_not_cut_to_8_bit(colour, channels):
    rows = b''.join(b'\0' + bytes(8 * channels * 2) for _ in range(8))
    error = refusal(png(8, 8, 16, colour, rows))
    assert error.code == ErrorCode.IMAGE_ENCODING and 'publish mono16' in str(error)


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(['PNG', 'JPEG']), st.integers(0, 400), st.binary(min_size=1, max_size=6))
def test_any_damage_gives_pixels_or_a_typed_error(form, place, damage):
    data = bytearray(encoded(SMOOTH, form))
    data[place % len(data) : place % len(data) + len(damage)] = damage
    try:
        pixels, _ = decode_image(bytes(data), form.lower())
    except ImageError as error:
        assert str(error)
    else:
        assert pixels.ndim == 2
