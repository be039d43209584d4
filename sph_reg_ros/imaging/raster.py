"""PNG and TIFF images in grey."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, Shaped
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from sph_reg_ros.errors import ErrorCode, ImageError

_FORMATS = ('PNG', 'TIFF')
_GREY_MODES = ('L', 'I;16', 'I;16L', 'I;16B', 'I;16N', 'I', 'F', '1')


def read_raster(path: Path, frame: int = 0) -> Float32[Tensor, 'H W']:
    """Read the pixels of a PNG or TIFF: 8 or 16 bit or float, grey.

    Colour is refused unless its channels are equal; transparency is dropped.

    Args:
        path: file.
        frame: page of a TIFF, from 0.

    Raises:
        ImageError: unreadable, not grey, or no such page.
    """
    try:
        with _silent_pillow(), Image.open(path, formats=_FORMATS) as image:
            pages = getattr(image, 'n_frames', 1)
            if not 0 <= frame < pages:
                raise ImageError(
                    ErrorCode.IMAGE_LAYOUT, f'{path.name} has pages 0 to {pages - 1}, not {frame}'
                )
            image.seek(frame)
            pixels = _grey(image, path)
    except UnidentifiedImageError:
        raise ImageError(
            ErrorCode.IMAGE_UNREADABLE, f'{path.name} is no readable PNG or TIFF'
        ) from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ImageError(
            ErrorCode.IMAGE_UNREADABLE, f'{path.name} cannot be read: {error}'
        ) from error
    return torch.from_numpy(np.array(pixels, dtype=np.float32, order='C'))


@contextmanager
def _silent_pillow() -> Iterator[None]:
    """Keep Pillow from warning of damage that it raises for, or that does not matter."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        yield


def _grey(image: Image.Image, path: Path) -> Shaped[np.ndarray, 'H W']:
    if image.mode in _GREY_MODES:
        return np.asarray(image)
    if image.mode == 'LA':
        return np.asarray(image)[..., 0]
    channels = np.asarray(image.convert('RGB'))
    if (channels == channels[..., :1]).all():
        return channels[..., 0]
    raise ImageError(
        ErrorCode.IMAGE_ENCODING, f'{path.name} is a colour image: export it in grey, 16 bit'
    )
