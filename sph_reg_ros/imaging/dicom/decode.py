"""Stored values of one frame of a DICOM image, in whatever way it is compressed.

pydicom decodes what it can with the packages that are there; the rest goes to GDCM, which comes
with SimpleITK and reads JPEG (lossless, extended), JPEG-LS, JPEG 2000 and RLE.
"""

import numpy as np
from jaxtyping import Integer, Shaped
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels import pixel_array
from pydicom.uid import UID, SecondaryCaptureImageStorage

from sph_reg_ros.files import shared_file

_SIZE_TAGS = (
    'Rows', 'Columns', 'SamplesPerPixel', 'BitsAllocated', 'BitsStored', 'PixelRepresentation'
)  # fmt: skip


def stored_pixels(dataset: Dataset, frame: int = 0) -> Shaped[np.ndarray, 'H W']:
    """Return the values of a frame as the header's bits say, before any rescaling.

    Args:
        dataset: a grey image with its file_meta.
        frame: which one, from 0.

    Raises:
        Exception: of nearly any type, if the pixels are damaged, cut off, or compressed in a way
            that neither library reads.
    """
    stored = int(dataset.BitsStored)
    high = int(dataset.get('HighBit', stored - 1))
    unused = high + 1 - stored
    if unused <= 0:
        return _decoded(dataset, frame)
    # Left-justified: to the decoders, the bits below the lowest stored one belong to the value.
    wide = Dataset()
    wide.update(dataset)
    wide.file_meta, wide.BitsStored = dataset.file_meta, high + 1
    values = _decoded(wide, frame)
    return (
        values if _fits(values, stored) and np.any(values & (2**unused - 1)) else values >> unused
    )


def padding_range(dataset: Dataset) -> tuple[int, int] | None:
    """Return the stored values that are padding (PS3.3 C.7.5.1.1.2), None if there is none."""
    value, limit = (dataset.get(f'PixelPadding{name}') for name in ('Value', 'RangeLimit'))
    if value is None:
        return None
    numbers = (value, value if limit is None else limit)
    low, high = sorted(_as_stored(dataset, int(number)) for number in numbers)
    return low, high


def compression_name(dataset: Dataset) -> str:
    """Return how the pixels of a file are compressed, '' if they are not."""
    syntax = UID(dataset.file_meta.get('TransferSyntaxUID', ''))
    return syntax.name if syntax.is_transfer_syntax and syntax.is_compressed else ''


def _as_stored(dataset: Dataset, number: int) -> int:
    """Return the stored value with the bits of a number: some files have its sign wrong."""
    bits = int(dataset.BitsStored)
    signed = dataset.PixelRepresentation == 1
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    if low <= number <= high:
        return number
    number &= (1 << bits) - 1
    return number - (1 << bits) if number > high else number


def _decoded(dataset: Dataset, frame: int) -> Integer[np.ndarray, 'H W']:
    try:
        return np.asarray(pixel_array(dataset, index=frame))
    except MemoryError:
        raise
    except Exception:
        if not compression_name(dataset):
            raise
        return _decoded_by_gdcm(dataset, frame)


def _decoded_by_gdcm(dataset: Dataset, frame: int) -> Integer[np.ndarray, 'H W']:
    import SimpleITK  # takes as long as a small image does

    reader = SimpleITK.ImageFileReader()
    reader.SetImageIO('GDCMImageIO')
    with shared_file() as descriptor:
        with open(descriptor, 'wb', closefd=False) as file:
            _single_frame(dataset, frame).save_as(file, enforce_file_format=True)
        reader.SetFileName(f'/dev/fd/{descriptor}')
        values = SimpleITK.GetArrayFromImage(reader.Execute())
    values = values.reshape(int(dataset.Rows), int(dataset.Columns))
    kind = 'i' if dataset.PixelRepresentation else 'u'
    values = values.astype(f'{kind}{values.dtype.itemsize}')
    # JPEG-LS does not know of signs: the highest stored bit is one.
    spare = 8 * values.dtype.itemsize - int(dataset.BitsStored)
    return (values << spare) >> spare


def _single_frame(dataset: Dataset, frame: int) -> Dataset:
    """Return one frame, still compressed, without rescale and patient."""
    single = Dataset()
    single.file_meta = FileMetaDataset()
    single.file_meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    single.file_meta.MediaStorageSOPClassUID = single.SOPClassUID = SecondaryCaptureImageStorage
    single.file_meta.MediaStorageSOPInstanceUID = single.SOPInstanceUID = UID('1.2.3')
    for name in _SIZE_TAGS:
        setattr(single, name, dataset[name].value)
    single.HighBit = int(dataset.BitsStored) - 1
    single.PhotometricInterpretation = 'MONOCHROME2'
    frames = int(dataset.get('NumberOfFrames') or 1)
    single.PixelData = encapsulate([get_frame(dataset.PixelData, frame, number_of_frames=frames)])
    single['PixelData'].VR = 'OB'
    return single


def _fits(values: Integer[np.ndarray, 'H W'], bits: int) -> bool:
    low, high = int(values.min()), int(values.max())
    return low >= -(2 ** (bits - 1)) and high < 2 ** (bits - (values.dtype.kind == 'i'))
