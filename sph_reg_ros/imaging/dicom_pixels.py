"""Pixels of one DICOM CT slice in Hounsfield units."""

from pathlib import Path

import numpy as np
import pydicom
from jaxtyping import Float32
from pydicom.dataset import Dataset
from pydicom.pixels import get_decoder

from sph_reg_ros.imaging.dicom_files import quiet_pydicom
from sph_reg_ros.imaging.dicom_stream import DicomStream
from sph_reg_ros.imaging.hounsfield import AIR_HU


def read_hounsfield(path: Path) -> Float32[np.ndarray, 'J I']:
    """Return a slice in HU; rescale slope and intercept applied, padding pixels set to air.

    float32 is exact for the whole numbers of up to 24 bits that scanners store.

    Raises:
        Exception: of nearly any type, if the file is damaged, truncated or lacks the rescale.
    """
    with quiet_pydicom():
        with DicomStream(path) as file:
            dataset = pydicom.dcmread(file)
        slope, intercept = float(dataset.RescaleSlope), float(dataset.RescaleIntercept)
        if slope == 0 or not np.isfinite([slope, intercept]).all():
            raise ValueError('rescale slope and intercept are no line')
        if get_decoder(dataset.file_meta.TransferSyntaxUID).is_available:
            values = dataset.pixel_array * np.float32(slope) + np.float32(intercept)
        else:
            values = _decoded_by_simpleitk(path)
        padding = _padding_range(dataset)
    values = values.astype(np.float32, copy=False)
    if padding is not None:
        low, high = sorted(limit * slope + intercept for limit in padding)
        half_step = abs(slope) / 2
        values[(values > low - half_step) & (values < high + half_step)] = AIR_HU
    return values


def _decoded_by_simpleitk(path: Path) -> Float32[np.ndarray, 'J I']:
    """Return HU of a slice in a compression that only SimpleITK's GDCM reads."""
    import SimpleITK  # takes as long as a small series does

    reader = SimpleITK.ImageFileReader()
    reader.SetImageIO('GDCMImageIO')
    reader.SetFileName(str(path))
    values: Float32[np.ndarray, 'J I'] = SimpleITK.GetArrayFromImage(reader.Execute())
    return values.astype(np.float32).reshape(values.shape[-2:])


def _padding_range(dataset: Dataset) -> tuple[float, float] | None:
    """Return the stored values that are padding (PS3.3 C.7.5.1.1.2), None if there is none."""
    value = dataset.get('PixelPaddingValue')
    if value is None:
        return None
    limit = dataset.get('PixelPaddingRangeLimit', value)
    signed = dataset.PixelRepresentation == 1
    # Some scanners write a negative padding value as unsigned.
    low, high = (v - 65536 if signed and v > 32767 else v for v in (value, limit))
    return float(low), float(high)
