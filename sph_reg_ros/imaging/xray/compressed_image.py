"""PNG and JPEG in memory, as ROS's image_transport sends them; no torch here."""

import io

import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import Image, UnidentifiedImageError

from sph_reg_ros.errors import ErrorCode, ImageError
from sph_reg_ros.imaging.xray.colour import GREY_TOLERANCE, spread

MAX_PIXELS = 2**25
"""More than any detector has; a few bytes of PNG may claim far more."""
_FORMATS = ('PNG', 'JPEG')
_SIXTEEN_BIT_GREY = ('I;16', 'I;16B', 'I;16L', 'I;16N', 'I')
# Text and marks that a console draws on its pictures.
_MOST_COLOURED = 0.05

Decoded = tuple[Shaped[np.ndarray, 'H W'], tuple[str, ...]]


def decode_image(data: bytes, transport: str) -> Decoded:
    """Return the pixels [H, W] of a compressed grey image, uint8 or uint16, and warnings.

    Equal colour channels are taken as grey.

    Args:
        data: file content, PNG or JPEG; the content decides which it is.
        transport: `format` of the CompressedImage, such as 'mono16; png compressed '.

    Raises:
        ImageError: IMAGE_ENCODING if it is no grey PNG or JPEG, IMAGE_UNREADABLE if it is damaged,
            IMAGE_LAYOUT if it is larger than MAX_PIXELS.
    """
    if 'depth' in transport.lower():
        raise ImageError(
            ErrorCode.IMAGE_ENCODING,
            f'format {transport!r} holds depths, not counts: publish the X-ray by the transport '
            'compressed, as png',
        )
    image = _opened(data, transport)
    if image.width * image.height > MAX_PIXELS:
        raise ImageError(
            ErrorCode.IMAGE_LAYOUT,
            f'the compressed image claims {image.width} x {image.height} pixels, more than any '
            f'detector has ({MAX_PIXELS})',
        )
    pixels, warnings = _grey(image, data)
    return pixels, (*warnings, *_losses(image, pixels, transport))


def _opened(data: bytes, transport: str) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError:
        raise ImageError(
            ErrorCode.IMAGE_ENCODING,
            f'the compressed image (format {transport!r}, {len(data)} bytes) is no PNG and no JPEG',
        ) from None
    except Exception as error:
        raise _damaged(error) from None


def _grey(image: Image.Image, data: bytes) -> Decoded:
    try:
        image.load()
    # A damaged file makes a decoder fail in any way.
    except Exception as error:
        raise _damaged(error) from None
    if image.mode in _SIXTEEN_BIT_GREY:
        return np.asarray(image).astype(np.uint16), ()
    if image.format == 'PNG' and _png_depth(data) == 16:
        raise ImageError(
            ErrorCode.IMAGE_ENCODING,
            'a PNG of 16 bit in colour or with transparency is not read: publish mono16',
        )
    if image.mode in ('L', '1'):
        return np.asarray(image.convert('L')), ()
    if image.mode == 'LA':
        return np.asarray(image)[..., 0], ()
    return _grey_of_colour(np.asarray(image.convert('RGB')))


def _grey_of_colour(channels: UInt8[np.ndarray, 'H W 3']) -> Decoded:
    coloured = float((spread(channels) > GREY_TOLERANCE).mean())
    if coloured > _MOST_COLOURED:
        raise ImageError(
            ErrorCode.IMAGE_ENCODING,
            f'{100 * coloured:.0f} % of the compressed image is coloured: publish it in grey',
        )
    green = np.ascontiguousarray(channels[..., 1])
    if coloured == 0:
        return green, ()
    share = f'{100 * coloured:.2g} % of the image is coloured'
    return green, (f'{share}, as by text drawn on it: publish the image without',)


def _losses(
    image: Image.Image, pixels: Shaped[np.ndarray, 'H W'], transport: str
) -> tuple[str, ...]:
    """Say what compression took away."""
    losses = []
    if image.format == 'JPEG':
        losses.append('the image was compressed by JPEG, which loses detail: publish png instead')
    if '16' in transport.partition(';')[0] and pixels.dtype == np.uint8:
        losses.append('the image was cut from 16 to 8 bit: publish png instead')
    return tuple(losses)


def _png_depth(data: bytes) -> int:
    """Return the bits a channel that the header states, which Pillow does not tell."""
    return data[24]


def _damaged(error: Exception) -> ImageError:
    reason = ' '.join(str(error).split())[:200] or type(error).__name__
    return ImageError(
        ErrorCode.IMAGE_UNREADABLE, f'the compressed image cannot be decoded: {reason}'
    )
