"""Strict reading of single DICOM values; errors name the tag, never its neighbours' content."""

import math
from collections.abc import Sequence

from pydicom import Dataset
from pydicom.datadict import tag_for_keyword

from sph_reg_ros.errors import CameraError, ErrorCode


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


def _invalid(keyword: str, what: str) -> CameraError:
    return CameraError(
        ErrorCode.CAMERA_INVALID,
        f'{tag_label(keyword)} {what}: correct the file or give the camera yourself',
    )
