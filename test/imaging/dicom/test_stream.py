"""Deflated DICOM files: sound ones are read, and none inflates without end."""

import zlib

import numpy as np
import pydicom
import pytest
from ct_files import numbered_phantom, write_dicom
from pydicom.uid import DeflatedExplicitVRLittleEndian
from xray_files import gradient, write_xa

from sph_reg_ros.errors import CTError, ErrorCode, ImageError
from sph_reg_ros.imaging.ct.read import parse_ct
from sph_reg_ros.imaging.dicom import stream
from sph_reg_ros.imaging.dicom.stream import DicomStream, require_bounded
from sph_reg_ros.imaging.xray.read import parse_xray


def deflate(path):
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(path)


def deflated(content: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush()


def test_deflated_files_give_what_plain_ones_do(tmp_path):
    xa, series = write_xa(tmp_path / 'xa', gradient()), write_dicom(tmp_path / 'ct', PHANTOM)
    image, ct = parse_xray(xa), parse_ct(series)
    for path in (xa, *series.iterdir()):
        size = path.stat().st_size
        deflate(path)
        assert path.stat().st_size != size
    assert (parse_xray(xa).pixels == image.pixels).all()
    np.testing.assert_array_equal(parse_ct(series).hounsfield, ct.hounsfield)


def test_files_that_inflate_to_more_than_the_limit_are_refused(tmp_path, monkeypatch):
    xa, series = write_xa(tmp_path / 'xa', gradient()), write_dicom(tmp_path / 'ct', PHANTOM)
    monkeypatch.setattr(stream, 'MAX_INFLATED_BYTES', 100)
    assert parse_xray(xa).pixels.shape == gradient().shape  # plain files have no such limit
    for path in (xa, *series.iterdir()):
        deflate(path)
    with pytest.raises(ImageError) as caught:
        parse_xray(xa)
    assert caught.value.code == ErrorCode.IMAGE_UNREADABLE
    with pytest.raises(CTError) as caught:
        parse_ct(series)
    assert caught.value.code == ErrorCode.CT_UNREADABLE


def test_a_deflated_xray_without_the_mark_of_dicom_is_bounded_as_well(tmp_path, monkeypatch):
    path = write_xa(tmp_path / 'xa', gradient())
    deflate(path)
    path.write_bytes(path.read_bytes()[132:])
    assert parse_xray(path).pixels.shape == gradient().shape
    monkeypatch.setattr(stream, 'MAX_INFLATED_BYTES', 100)
    with pytest.raises(ImageError):
        parse_xray(path)


@pytest.mark.parametrize('size', [0, 1, 10_000, 10_001, 10_000_000])
def test_the_limit_is_met_to_the_byte(monkeypatch, size):
    monkeypatch.setattr(stream, 'MAX_INFLATED_BYTES', 10_000)
    if size <= 10_000:
        require_bounded(deflated(bytes(size)))
    else:
        with pytest.raises(ValueError, match='more than 10000 bytes'):
            require_bounded(deflated(bytes(size)))


def test_parts_of_a_file_are_read_as_they_are(tmp_path):
    path = tmp_path / 'file'
    path.write_bytes(b'no deflated data at all')
    with DicomStream(path) as file:
        assert file.read(2) == b'no' and file.tell() == 2
        with pytest.raises(zlib.error):
            file.read()


PHANTOM = numbered_phantom((3, 4, 5))
