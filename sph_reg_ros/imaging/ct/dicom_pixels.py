"""Pixels of one DICOM CT slice in Hounsfield units."""

from pathlib import Path

import numpy as np
from jaxtyping import Float32
from pydicom.dataset import Dataset

from sph_reg_ros.imaging.ct.hounsfield import AIR_HU
from sph_reg_ros.imaging.dicom.decode import stored_pixels
from sph_reg_ros.imaging.dicom.files import quiet_pydicom, read_dataset


def read_hounsfield(path: Path) -> Float32[np.ndarray, 'J I']:
    """Return a slice in HU; rescale slope and intercept applied, padding pixels set to air.

    float32 is exact for the whole numbers of up to 24 bits that scanners store.

    Raises:
        Exception: of nearly any type, if the file is damaged, truncated or lacks the rescale.
    """
    with quiet_pydicom():
        dataset = read_dataset(path)
        slope, intercept = float(dataset.RescaleSlope), float(dataset.RescaleIntercept)
        if slope == 0 or not np.isfinite([slope, intercept]).all():
            raise ValueError('rescale slope and intercept are no line')
        stored = stored_pixels(dataset)
        padding = padding_range(dataset)
    values = stored * np.float32(slope) + np.float32(intercept)
    if padding is not None:
        low, high = padding
        values[(stored >= low) & (stored <= high)] = AIR_HU
    return values.astype(np.float32, copy=False)


def padding_range(dataset: Dataset) -> tuple[int, int] | None:
    """Return the stored values that are padding (PS3.3 C.7.5.1.1.2), None if there is none."""
    value, limit = (dataset.get(f'PixelPadding{name}') for name in ('Value', 'RangeLimit'))
    if value is None:
        return None
    numbers = (value, value if limit is None else limit)
    low, high = sorted(_as_stored(dataset, int(number)) for number in numbers)
    return low, high


def _as_stored(dataset: Dataset, number: int) -> int:
    """Return the stored value with the bits of a number: some files have its sign wrong."""
    bits = int(dataset.BitsStored)
    signed = dataset.PixelRepresentation == 1
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    if low <= number <= high:
        return number
    number &= (1 << bits) - 1
    return number - (1 << bits) if number > high else number
