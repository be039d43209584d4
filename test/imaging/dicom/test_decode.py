"""Stored values of DICOM frames: bits as the header says, and compressions."""

import base64

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import MPEG4HP41, JPEGLosslessSV1, JPEGLSLossless, RLELossless
from xray_files import gradient, write_xa

from sph_reg_ros.errors import ErrorCode, ImageError
from sph_reg_ros.imaging.dicom.decode import stored_pixels
from sph_reg_ros.imaging.load import load_xray

SMALL = (np.arange(48) * 83 % 4000).astype(np.uint16).reshape(6, 8)
SMALL_AS_JPEG_LS = base64.b64decode(
    '/9j/9wALDAAGAAgBAREA/9oACAEBAAAAAIymVRqEyqNQgAAHAzKRRKBPJwzAAAHBNJhLJRJJBSGXI5GIpEIZCKIyxBID+/Pr'
    '4UClXt6eXh3dieD/2Q=='
)


def packed_jpeg_ls(path, frames):
    """Write frames, of which each is SMALL_AS_JPEG_LS or made by pydicom's RLE encoder."""
    write_xa(path, np.stack([SMALL] * len(frames)), BitsStored=12, HighBit=11)
    dataset = pydicom.dcmread(path)
    dataset.PixelData = encapsulate(frames)
    dataset['PixelData'].VR = 'OB'
    dataset.file_meta.TransferSyntaxUID = JPEGLSLossless
    dataset.save_as(path)
    return path


def stored(path, frame=0):
    return stored_pixels(pydicom.dcmread(path), frame)


def test_jpeg_ls_is_read_without_another_package(tmp_path):
    path = packed_jpeg_ls(tmp_path / 'a.dcm', [SMALL_AS_JPEG_LS])
    assert (stored(path) == SMALL).all()
    assert (load_xray(path).pixels.numpy() == SMALL).all()


def test_the_right_frame_of_a_compressed_file_is_decoded_and_no_other(tmp_path):
    path = packed_jpeg_ls(tmp_path / 'a.dcm', [b'damaged!', SMALL_AS_JPEG_LS, b'damaged!'])
    assert (stored(path, 1) == SMALL).all()


@pytest.mark.parametrize('offset', [0, 2000])
@pytest.mark.parametrize('syntax', [JPEGLosslessSV1, RLELossless])
def test_lossless_compression_keeps_every_value(tmp_path, syntax, offset):
    kind = np.int16 if offset else np.uint16
    values = (gradient() % 4000 - offset).astype(kind)
    write_xa(tmp_path / 'a.dcm', values, PixelRepresentation=int(kind is np.int16),
             RescaleSlope=3, RescaleIntercept=7)  # fmt: skip
    if syntax == RLELossless:
        dataset = pydicom.dcmread(tmp_path / 'a.dcm')
        dataset.compress(syntax)
        dataset.save_as(tmp_path / 'a.dcm')
    else:
        as_jpeg_lossless(tmp_path / 'a.dcm')
    assert (stored(tmp_path / 'a.dcm') == values).all()
    # Rescaled once, whichever library decodes.
    assert (load_xray(tmp_path / 'a.dcm').pixels.numpy() == 3.0 * values + 7).all()


def as_jpeg_lossless(path):
    """Let GDCM compress the pixels of a file, and put them back."""
    import SimpleITK

    dataset = pydicom.dcmread(path)
    writer = SimpleITK.ImageFileWriter()
    writer.SetImageIO('GDCMImageIO')
    writer.SetUseCompression(True)
    writer.SetCompressor('JPEG')
    writer.SetFileName(str(path.with_name('packed.dcm')))
    writer.Execute(SimpleITK.GetImageFromArray(dataset.pixel_array))
    packed = pydicom.dcmread(path.with_name('packed.dcm'))
    assert packed.file_meta.TransferSyntaxUID == JPEGLosslessSV1
    dataset.PixelData, dataset.file_meta.TransferSyntaxUID = packed.PixelData, JPEGLosslessSV1
    dataset['PixelData'].VR = 'OB'
    dataset.save_as(path)


def test_left_justified_values_are_shifted_down(tmp_path):
    values = (gradient() % 4096).astype(np.uint16)
    tags = dict(BitsStored=12, HighBit=15)
    assert (stored(write_xa(tmp_path / 'a.dcm', values << 4, **tags)) == values).all()
    signed = values.astype(np.int16) - 2048
    path = write_xa(tmp_path / 'b.dcm', signed << 4, PixelRepresentation=1, **tags)
    assert (stored(path) == signed).all()


def test_a_wrong_high_bit_does_not_take_bits_from_right_justified_values(tmp_path):
    values = (gradient() % 4096).astype(np.uint16)
    path = write_xa(tmp_path / 'a.dcm', values, BitsStored=12, HighBit=15)
    assert (stored(path) == values).all()


def test_bits_above_the_high_bit_are_no_part_of_the_value(tmp_path):
    values = (gradient() % 4096).astype(np.uint16)
    overlay = values.copy()
    overlay[3:9] |= 0xC000
    path = write_xa(tmp_path / 'a.dcm', overlay, BitsStored=12, HighBit=11)
    assert (stored(path) == values).all()


def test_a_compression_that_nothing_reads_is_named(tmp_path):
    path = packed_jpeg_ls(tmp_path / 'a.dcm', [SMALL_AS_JPEG_LS])
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = MPEG4HP41
    dataset.save_as(path)
    with pytest.raises(ImageError, match='MPEG-4') as caught:
        load_xray(path)
    assert caught.value.code == ErrorCode.IMAGE_UNREADABLE


def test_damaged_compressed_pixels_name_their_compression(tmp_path):
    path = packed_jpeg_ls(tmp_path / 'a.dcm', [SMALL_AS_JPEG_LS[:20]])
    with pytest.raises(ImageError, match='JPEG-LS'):
        load_xray(path)
