"""Pixels of one DICOM CT slice in Hounsfield units."""

from pathlib import Path

import numpy as np
from jaxtyping import Float32

from sph_reg_ros.imaging.ct.hounsfield import AIR_HU
from sph_reg_ros.imaging.dicom.decode import padding_range, stored_pixels
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
