"""Strict reading of single DICOM values; errors name the tag, never its neighbours' content."""

import math
from collections.abc import Sequence

import numpy as np
from pydicom import Dataset
from pydicom.datadict import tag_for_keyword

from sph_reg_ros.errors import CameraError, ErrorCode

_SAME = 1e-3
"""Relative difference of a value in a file and the same one, rounded, by hand."""


def tag_label(keyword: str) -> str:
    """Return a keyword with its number: 'ImagerPixelSpacing (0018,1164)'."""
    tag = tag_for_keyword(keyword) or 0
    return f'{keyword} ({tag >> 16:04X},{tag & 0xFFFF:04X})'


def read_numbers(dataset: Dataset, keyword: str, count: int | None = None) -> tuple[float, ...]:
    """Return the finite numbers of a tag, () where it is absent or empty.

    Args:
        dataset: header.
        keyword: DICOM keyword.
        count: how many numbers there must be; any if None.

    Raises:
        CameraError: the value is no finite number, or the count is another.
    """
    try:
        value = dataset.get(keyword)
        if value is None or value == '':
            return ()
        several = isinstance(value, Sequence) and not isinstance(value, str)
        numbers = tuple(float(item) for item in (value if several else (value,)))
    except (ValueError, TypeError, OverflowError, AttributeError):
        raise _invalid(keyword, 'is not a number') from None
    if not all(math.isfinite(number) for number in numbers):
        raise _invalid(keyword, 'is not finite')
    if numbers and count is not None and len(numbers) != count:
        raise _invalid(keyword, f'has {len(numbers)} values, not {count}')
    return numbers


def read_number(dataset: Dataset, keyword: str) -> float | None:
    """Return the one number of a tag, None where it is absent or empty; raises CameraError."""
    numbers = read_numbers(dataset, keyword, 1)
    return numbers[0] if numbers else None


def read_words(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    """Return the code strings of a tag in upper case, () where it is absent or empty."""
    try:
        value = dataset.get(keyword)
    except (ValueError, TypeError, AttributeError):
        return ()
    several = isinstance(value, Sequence) and not isinstance(value, str)
    items = value if several else (value,)
    words = (str(item).strip().upper() for item in items if item is not None)
    return tuple(word for word in words if word)


def read_word(dataset: Dataset, keyword: str) -> str:
    """Return the first code string of a tag in upper case, '' where it is absent or empty."""
    words = read_words(dataset, keyword)
    return words[0] if words else ''


def contradiction(
    dataset: Dataset, keyword: str, given: tuple[float, ...], unit: str
) -> tuple[str, ...]:
    """Return a warning if a file says something else than what was given instead; () if not."""
    try:
        stated = read_numbers(dataset, keyword, len(given))
    except CameraError:
        return ()
    # Devices write 0 for what they do not know.
    if not any(stated) or np.allclose(stated, given, rtol=_SAME, atol=0):
        return ()
    return (
        f'{tag_label(keyword)} is {_text(stated)} {unit} in the file, given was {_text(given)} '
        f'{unit}, which counts',
    )


def _text(numbers: tuple[float, ...]) -> str:
    return ' '.join(f'{number:g}' for number in numbers)


def _invalid(keyword: str, what: str) -> CameraError:
    return CameraError(
        ErrorCode.CAMERA_INVALID,
        f'{tag_label(keyword)} {what}: correct the file or give the camera yourself',
    )
