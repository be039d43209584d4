"""PNG, TIFF, JPEG and BMP images in grey."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Shaped
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from torch import Tensor

from sph_reg_ros.errors import ErrorCode, ImageError
from sph_reg_ros.imaging.xray.colour import grey_of

_FORMATS = ('PNG', 'TIFF', 'JPEG', 'BMP')
_GREY_MODES = ('L', 'I;16', 'I;16L', 'I;16B', 'I;16N', 'I', 'F', '1')
# Tags of TIFF.
_BITS, _PHOTOMETRIC, _ORIENTATION, _SAMPLES_A_PIXEL, _SAMPLE_FORMAT = 258, 262, 274, 277, 339
_WHITE_IS_ZERO = 0
_ON_ITS_SIDE = (5, 6, 7, 8)
"""Orientations that swap rows and columns; Pillow mixes up the pixels of uncompressed ones."""
_OPENCV_READS = {(8, 1), (16, 1), (16, 2), (32, 1), (32, 2), (32, 3), (64, 3)}
"""Bits and sample format."""
_SAMPLES = {1: 'whole numbers', 2: 'signed numbers', 3: 'floating point numbers'}


def read_raster(path: Path, frame: int = 0) -> tuple[Float32[Tensor, 'H W'], int]:
    """Read the pixels of a picture: 8 or 16 bit, signed or not, or 32 bit, grey.

    Colour is refused unless its channels agree (`colour.grey_of`); transparency is dropped. A TIFF
    that says that zero is white is turned over, as every viewer does. An orientation that the file
    states is applied.

    Args:
        path: file.
        frame: page of a TIFF, from 0.

    Returns:
        The pixels, and how many pages there are.

    Raises:
        ImageError: unreadable, not grey, or no such page.
    """
    try:
        with _silent_pillow(), Image.open(path, formats=_FORMATS) as image:
            pages = getattr(image, 'n_frames', 1)
            _require_page(path, frame, pages)
            image.seek(frame)
            tags = dict(getattr(image, 'tag_v2', {}))
            if tags.get(_ORIENTATION) in _ON_ITS_SIDE:
                pixels, pages = _by_opencv(path, frame, tags)
            else:
                pixels = _grey(image, tags, path)
    except UnidentifiedImageError:
        pixels, pages = _by_opencv(path, frame, _first_directory(path))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ImageError(
            ErrorCode.IMAGE_UNREADABLE, f'{path.name} cannot be read: {error}'
        ) from error
    return torch.from_numpy(np.array(pixels, dtype=np.float32, order='C')), pages


@contextmanager
def _silent_pillow() -> Iterator[None]:
    """Keep Pillow from warning of damage that it raises for, or that does not matter."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        yield


def _grey(image: Image.Image, tags: dict[int, Any], path: Path) -> Shaped[np.ndarray, 'H W']:
    bits = tags.get(_BITS, 1)
    if isinstance(bits, tuple) and len(bits) > 1 and max(bits) > 8:
        # Pillow keeps 8 bits of each, or mixes them up.
        raise ImageError(
            ErrorCode.IMAGE_ENCODING,
            f'{path.name} has {len(bits)} samples of {max(bits)} bit a pixel: export it in grey, '
            'several images as pages',
        )
    if image.format == 'PNG' and image.mode not in _GREY_MODES and _png_depth(path) > 8:
        return _grey_of_colour(_deep_colours(path), path)
    image = ImageOps.exif_transpose(image)
    if image.mode in _GREY_MODES:
        return _as_tagged(np.asarray(image), tags) if tags else np.asarray(image)
    if image.mode == 'LA':
        return np.asarray(image)[..., 0]
    return _grey_of_colour(np.asarray(image.convert('RGB')), path)


def _grey_of_colour(channels: Shaped[np.ndarray, 'H W 3'], path: Path) -> Shaped[np.ndarray, 'H W']:
    grey = grey_of(channels)
    if grey is None:
        raise ImageError(
            ErrorCode.IMAGE_ENCODING, f'{path.name} is a colour image: export it in grey, 16 bit'
        )
    return grey


def _deep_colours(path: Path) -> Shaped[np.ndarray, 'H W 3']:
    """Return the channels of a 16 bit PNG, of which Pillow keeps 8 bits."""
    import cv2  # takes a while

    channels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if channels is None or channels.ndim != 3:
        raise _no_picture(path, 'is a damaged PNG: export it again')
    return channels[..., :3]


def _png_depth(path: Path) -> int:
    """Return the bits a channel, which Pillow does not tell."""
    with path.open('rb') as file:
        return file.read(25)[24]


def _as_tagged(pixels: Shaped[np.ndarray, 'H W'], tags: dict[int, Any]) -> np.ndarray:
    """Return the pixels of a TIFF as its tags mean them, where Pillow does not."""
    bits, sample = (_first(tags.get(tag, 1)) for tag in (_BITS, _SAMPLE_FORMAT))
    if (bits, sample) == (8, 2):
        pixels = pixels.view(np.int8)
    if (bits, sample) == (32, 1):
        pixels = pixels.view(np.uint32)
    # Both libraries turn over 8 bits and fewer.
    if _first(tags.get(_PHOTOMETRIC, 1)) != _WHITE_IS_ZERO or bits <= 8:
        return pixels
    if sample == 3:
        return pixels.min() + pixels.max() - pixels
    return (-1 if sample == 2 else 2**bits - 1) - pixels.astype(np.int64)


def _by_opencv(path: Path, frame: int, tags: dict[int, Any]) -> tuple[np.ndarray, int]:
    """Read a grey TIFF that Pillow does not, such as one of 64 bit, of big-endian white, turned."""
    if not tags:
        raise _no_picture(path, 'is no readable PNG, TIFF, JPEG or BMP: export it again')
    bits, sample = (_first(tags.get(tag, 1)) for tag in (_BITS, _SAMPLE_FORMAT))
    if (bits, sample) in _OPENCV_READS and _first(tags.get(_SAMPLES_A_PIXEL, 1)) == 1:
        import cv2  # takes a while

        pages = cv2.imcount(str(path), cv2.IMREAD_UNCHANGED)
        _require_page(path, frame, max(pages, 1))
        found, images = cv2.imreadmulti(str(path), start=frame, count=1, flags=-1)
        if found and images[0].ndim == 2:
            return _as_tagged(images[0], tags), pages
    several = _first(tags.get(_SAMPLES_A_PIXEL, 1))
    count = f', {several} a pixel' if several > 1 else ''
    raise _no_picture(
        path,
        f'is a damaged TIFF, or one of {bits} bit {_SAMPLES.get(sample, "something else")}{count}, '
        'which is not read: export it in grey, as 16 bit whole numbers or 32 bit floating point '
        'numbers',
    )


def _first_directory(path: Path) -> dict[int, Any]:
    """Return the tags of a TIFF's first page, none of what is no sound TIFF."""
    # Whatever is wrong with the file, there is an error already.
    with suppress(Exception), _silent_pillow(), path.open('rb') as file:
        start = file.read(8)
        if start[:2] in (b'II', b'MM'):
            is_big = b'+' in start[2:4]
            directory = ImageFileDirectory_v2(start + file.read(8) if is_big else start)
            file.seek(directory.next)
            directory.load(file)
            return dict(directory)
    return {}


def _require_page(path: Path, frame: int, pages: int) -> None:
    if not 0 <= frame < pages:
        raise ImageError(
            ErrorCode.IMAGE_LAYOUT,
            f'{path.name} has {pages} pages, 0 to {pages - 1}, and no page {frame}',
        )


def _no_picture(path: Path, reason: str) -> ImageError:
    return ImageError(ErrorCode.IMAGE_UNREADABLE, f'{path.name} {reason}')


def _first(value: Any) -> int:
    return int(value[0] if isinstance(value, tuple) else value)
