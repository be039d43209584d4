"""What the pixel values of a DICOM projection image stand for."""

import numpy as np
import torch
from jaxtyping import Float, Float32
from pydicom import Dataset
from pydicom.pixels import apply_modality_lut
from torch import Tensor

from sph_reg_ros.errors import ErrorCode, ImageError
from sph_reg_ros.imaging.dicom.tags import read_number, read_word, tag_label
from sph_reg_ros.imaging.xray.intensity import IntensityModel


def read_intensity(
    dataset: Dataset, stored: Float[np.ndarray, 'H W']
) -> tuple[Float32[Tensor, 'H W'], IntensityModel, tuple[str, ...]]:
    """Return pixels in one of the known domains, their model, and what had to be assumed.

    - A modality LUT is applied; in X-ray images it leads back to values linear in intensity.
      Rescale slope and intercept are applied.
    - LIN is Beer-Lambert.
    - LOG is a line integral but for scale and offset; where bright is air it is turned over.
    - DISP, or nothing, is display values. They are taken for linear, air bright in fluoroscopy
      (XA, RF, captures of a C-arm), dark in radiographs (DX, CR); MONOCHROME1 swaps both.

    PixelIntensityRelationshipSign (DICOM PS3.3 C.8.11.3.1.2) goes before all guesses.

    Raises:
        ImageError: the modality LUT or the rescaling cannot be applied.
    """
    if not dataset.get('ModalityLUTSequence') and read_number(dataset, 'RescaleSlope') == 0:
        raise ImageError(
            ErrorCode.IMAGE_ENCODING,
            f'{tag_label("RescaleSlope")} is 0, which makes all pixels equal: correct the file',
        )
    try:
        values = np.asarray(apply_modality_lut(stored, dataset), dtype=np.float32)
    except Exception as error:
        raise ImageError(
            ErrorCode.IMAGE_ENCODING,
            f'{tag_label("ModalityLUTSequence")} or {tag_label("RescaleSlope")} cannot be applied '
            f'({type(error).__name__}): correct the file',
        ) from None
    pixels = torch.from_numpy(np.ascontiguousarray(values))
    relationship = read_word(dataset, 'PixelIntensityRelationship')
    if dataset.get('ModalityLUTSequence'):
        relationship = 'LIN'
    sign = read_number(dataset, 'PixelIntensityRelationshipSign')
    if relationship == 'LIN':
        return pixels, IntensityModel(bright_air=sign != -1), ()
    if relationship == 'LOG':
        return _dark_air(pixels, sign), IntensityModel('line_integral'), ()
    warning = (
        f'{tag_label("PixelIntensityRelationship")} is {relationship or "missing"}: display values '
        'are taken as linear in intensity'
    )
    return pixels, IntensityModel(bright_air=_display_bright_air(dataset, sign)), (warning,)


def _dark_air(pixels: Float32[Tensor, 'H W'], sign: float | None) -> Float32[Tensor, 'H W']:
    # A higher value stands for more intensity unless the sign says otherwise.
    return pixels if sign == -1 else pixels.max() - pixels


def _display_bright_air(dataset: Dataset, sign: float | None) -> bool:
    if sign is not None:
        return sign != -1
    fluoroscopy = read_word(dataset, 'Modality') in ('XA', 'RF', 'OT', '')
    inverted = read_word(dataset, 'PhotometricInterpretation') == 'MONOCHROME1'
    return fluoroscopy != inverted
