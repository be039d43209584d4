"""X-rays as NumPy arrays."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from sph_reg_ros.errors import ErrorCode, ImageError

_NUMERIC_KINDS = 'uif'
_MOST_CHANNELS = 4
"""A last axis as short as that is one of colours; no image has so few columns."""


def read_array(path: Path, frame: int = 0) -> tuple[Float32[Tensor, 'H W'], int]:
    """Read an image [H, W] or [N, H, W] of integers or floats from a .npy file.

    Args:
        path: file.
        frame: which of N images, from 0.

    Returns:
        The image, and how many there are.

    Raises:
        ImageError: unreadable, not numbers, not that shape, or no such frame.
    """
    try:
        # Mapped, a header that promises more than the file holds is an error and no allocation.
        array = np.load(path, mmap_mode='r')
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        raise ImageError(
            ErrorCode.IMAGE_UNREADABLE, f'{path.name} is no readable array: {error}'
        ) from None
    if array.dtype.kind not in _NUMERIC_KINDS:
        raise ImageError(
            ErrorCode.IMAGE_ENCODING, f'{path.name} holds {array.dtype}, not integers or floats'
        )
    is_channels_last = array.ndim == 3 and array.shape[2] <= _MOST_CHANNELS
    if array.ndim not in (2, 3) or 0 in array.shape or is_channels_last:
        raise ImageError(
            ErrorCode.IMAGE_LAYOUT, f'{path.name} is {array.shape}, not [H, W] or [N, H, W]'
        )
    frames = array[None] if array.ndim == 2 else array
    if not 0 <= frame < len(frames):
        raise ImageError(
            ErrorCode.IMAGE_LAYOUT,
            f'{path.name} has {len(frames)} frames, 0 to {len(frames) - 1}, and no frame {frame}',
        )
    with np.errstate(over='ignore'):  # too large for float32 becomes infinite, which is refused
        return torch.from_numpy(np.array(frames[frame], dtype=np.float32)), len(frames)
