"""DICOM series that must be refused, and how their pixels become Hounsfield units."""

import re
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK
from ct_files import PATIENT_ID, PATIENT_NAME, numbered_phantom, write_dicom
from pydicom.uid import EnhancedCTImageStorage

from sph_reg_ros.errors import CTError, ErrorCode
from sph_reg_ros.imaging.ct.read import parse_ct

SLICE_4 = 'slice 4 of 6 at 0.00 mm'  # the phantoms start at -7.5 mm and have 2.5 mm slices


def shift(dataset, millimetres):
    position = np.array(dataset.ImagePositionPatient, float) + millimetres
    dataset.ImagePositionPatient = position.tolist()


def refusal(folder, edit=lambda k, dataset: None, skip=()) -> CTError:
    """Write six slices, changed or left out, and return the error of loading them."""
    phantom = numbered_phantom((6, 4, 5))
    write_dicom(folder, phantom, edit=edit, skip=skip)
    with pytest.raises(CTError) as error:
        parse_ct(folder)
    return error.value


GEOMETRY_FAULTS = {
    'missing slice': ([3], r'1 missing of 6 slices: slice 4 at 0\.00 mm'),
    'two missing': ([2, 3], r'slice 3 at -2\.50 mm, slice 4 at 0\.00 mm'),
    'non-uniform spacing': (
        lambda k, d: shift(d, [0, 0, 0.4 * (k == 3)]),
        r'slice 3 of 6 at -2\.50 mm and slice 4 at 0\.40 mm are 2\.900 mm apart, others 2\.500 mm',
    ),
    'duplicate': (
        lambda k, d: shift(d, [0, 0, -2.5 * (k == 3)]),
        r'slice 3 of 6 at -2\.50 mm and slice 4 lie at the same position',
    ),
    'gantry tilt': (
        lambda k, d: shift(d, [0, 0.5 * k, 0]),
        r'tilted by 11\.31 degrees: from slice 1 at -7\.50 mm on, each slice is shifted by 0\.50',
    ),
    'moved table': (lambda k, d: shift(d, [0.3 * (k == 3), 0, 0]), SLICE_4 + ' lies 0.2'),
    'mixed orientation': (
        lambda k, d: k == 3 and setattr(d, 'ImageOrientationPatient', [0, 1, 0, 1, 0, 0]),
        SLICE_4 + ' differs from the others in orientation',
    ),
    'mixed pixel spacing': (
        lambda k, d: k == 3 and setattr(d, 'PixelSpacing', [0.7, 0.9]),
        SLICE_4 + r' differs from the others in pixel spacing \(rows 0.7 mm, columns 0.9 mm',
    ),
    'mixed size': (
        lambda k, d: k == 3 and (setattr(d, 'Rows', 5), setattr(d, 'Columns', 4)),
        SLICE_4 + r' differs from the others in size \(4 x 5 pixels\)',
    ),
    'no position': (
        lambda k, d: k == 3 and d.pop('ImagePositionPatient'),
        'ImagePositionPatient is missing',
    ),
    'zero spacing': (lambda k, d: setattr(d, 'PixelSpacing', [0, 0.7]), 'must be positive'),
    'skewed cosines': (
        lambda k, d: setattr(d, 'ImageOrientationPatient', [1, 0, 0, 0.1, 1, 0]),
        'not two perpendicular unit vectors',
    ),
    'several patients': (
        lambda k, d: k == 3 and setattr(d, 'PatientID', 'another'),
        'belong to 2 patients',
    ),
}


def geometry_refusal(folder, fault) -> CTError:
    change = GEOMETRY_FAULTS[fault][0]
    if callable(change):
        return refusal(folder, edit=change)
    return refusal(folder, skip=change)


@pytest.mark.parametrize('fault', GEOMETRY_FAULTS)
def test_a_faulty_geometry_is_refused_with_its_slice_and_position_in_mm(tmp_path, fault):
    error = geometry_refusal(tmp_path, fault)
    assert error.code == ErrorCode.CT_GEOMETRY
    assert re.search(GEOMETRY_FAULTS[fault][1], str(error)), str(error)


def test_one_slice_is_too_few(tmp_path):
    error = refusal(tmp_path, skip=[0, 1, 3, 4, 5])
    assert error.code == ErrorCode.CT_TOO_FEW_SLICES


def test_another_modality_is_named(tmp_path):
    error = refusal(tmp_path, lambda k, d: setattr(d, 'Modality', 'MR'))
    assert error.code == ErrorCode.CT_UNREADABLE
    assert 'no CT, only MR' in str(error)


@pytest.mark.parametrize(
    'attribute, value', [('NumberOfFrames', 6), ('SOPClassUID', EnhancedCTImageStorage)]
)
def test_multi_frame_ct_is_refused_with_what_to_do(tmp_path, attribute, value):
    error = refusal(tmp_path, lambda k, d: setattr(d, attribute, value))
    assert error.code == ErrorCode.CT_UNREADABLE
    assert 'multi-frame' in str(error) and 'export' in str(error)


@pytest.mark.parametrize(
    'edit',
    [
        lambda d: setattr(d, 'PixelData', d.PixelData[:-8]),
        lambda d: d.pop('PixelData'),
        lambda d: d.pop('RescaleSlope'),
        lambda d: setattr(d, 'RescaleSlope', 0),
        lambda d: setattr(d, 'SamplesPerPixel', 3),
    ],
)
def test_unreadable_pixels_are_refused_with_their_slice(tmp_path, edit):
    error = refusal(tmp_path, lambda k, d: k == 3 and edit(d))
    assert error.code == ErrorCode.CT_UNREADABLE
    assert SLICE_4 in str(error)


def test_a_file_cut_off_anywhere_is_refused_and_never_crashes(tmp_path):
    folder = write_dicom(tmp_path, numbered_phantom((4, 4, 5)))
    victim = sorted(folder.iterdir())[1]
    content = victim.read_bytes()
    for length in range(132, len(content) - 1, 23):
        victim.write_bytes(content[:length])
        with pytest.raises(CTError):
            parse_ct(folder)


@pytest.mark.parametrize('fault', [*GEOMETRY_FAULTS, 'damaged', 'pixels'])
def test_messages_never_hold_the_patients_name_or_id(tmp_path, fault):
    if fault == 'damaged':
        folder = write_dicom(tmp_path, numbered_phantom())
        victim = next(folder.iterdir())
        victim.write_bytes(victim.read_bytes()[:140])
        with pytest.raises(CTError) as caught:
            parse_ct(folder)
        error = caught.value
    elif fault == 'pixels':
        error = refusal(tmp_path, lambda k, d: k == 3 and d.pop('PixelData'))
    else:
        error = geometry_refusal(tmp_path, fault)
    for secret in (PATIENT_ID, *PATIENT_NAME.split('^')):
        assert secret not in str(error)
    assert error.__cause__ is None


def test_rescale_and_padding_become_hounsfield_units(tmp_path):
    phantom = numbered_phantom((3, 4, 5))

    def edit(k, dataset):
        dataset.PixelRepresentation = 1
        stored = phantom.hounsfield[k].astype('<i2')
        stored[0, 0] = -2000
        dataset.PixelData = stored.tobytes()
        dataset.RescaleSlope, dataset.RescaleIntercept = 2, -10
        # As some scanners write it: the bits of -2000, unsigned.
        dataset.add_new('PixelPaddingValue', 'US', 63536)

    ct = parse_ct(write_dicom(tmp_path, phantom, edit=edit))
    expected = phantom.hounsfield.astype(int) * 2 - 10
    expected[:, 0, 0] = -1000
    np.testing.assert_array_equal(ct.hounsfield, expected)
    assert ct.hounsfield.dtype == np.int16


def test_a_range_of_padding_values_becomes_air(tmp_path):
    phantom = numbered_phantom((3, 4, 5))

    def edit(k, dataset):
        dataset.add_new('PixelPaddingValue', 'US', 924)
        dataset.add_new('PixelPaddingRangeLimit', 'US', 926)

    ct = parse_ct(write_dicom(tmp_path, phantom, edit=edit))
    np.testing.assert_array_equal(ct.hounsfield[0, 0], [-1000, -1000, -1000, -97, -96])


@pytest.mark.parametrize(
    'bits, high, signed, padding',
    [
        (16, 15, 0, ('US', 63536)),
        (16, 15, 0, ('SS', -2000)),
        (16, 15, 1, ('US', 63536)),
        (16, 15, 1, ('SS', -2000)),
        (12, 11, 0, ('US', 4095)),
        (12, 11, 0, ('SS', -1)),
        (12, 15, 0, ('US', 4095)),
        (13, 14, 1, ('SS', -2000)),
    ],
)
def test_padding_is_air_and_bits_are_where_the_header_says(tmp_path, bits, high, signed, padding):
    phantom = numbered_phantom((3, 4, 5))

    def edit(k, dataset):
        stored = phantom.hounsfield[k].astype(np.int64) + 1024 * (1 - signed)
        stored[0, 0] = padding[1]
        stored = (stored & (2**bits - 1)) << (high + 1 - bits)
        dataset.PixelData = stored.astype('<u2').tobytes()
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = bits, high, signed
        dataset.RescaleIntercept = -1024 * (1 - signed)
        dataset.add_new('PixelPaddingValue', *padding)

    ct = parse_ct(write_dicom(tmp_path, phantom, edit=edit))
    expected = phantom.hounsfield.copy()
    expected[:, 0, 0] = -1000
    np.testing.assert_array_equal(ct.hounsfield, expected)


def test_padding_that_is_not_declared_is_a_doubt(tmp_path):
    phantom = numbered_phantom((3, 4, 5))

    def edit(k, dataset):
        stored = phantom.hounsfield[k].astype('<u2') + 1024
        stored[0, 0] = 63536
        dataset.PixelData = stored.tobytes()

    ct = parse_ct(write_dicom(tmp_path, phantom, edit=edit))
    assert any('62512 HU' in doubt and 'padding' in doubt for doubt in ct.hounsfield_doubts)


def test_another_unit_in_the_header_is_said(tmp_path):
    edit = lambda k, dataset: setattr(dataset, 'RescaleType', 'US')  # noqa: E731
    ct = parse_ct(write_dicom(tmp_path, numbered_phantom((3, 4, 5)), edit=edit))
    assert ct.assumptions == ('the header says that its values are US: they were taken as HU',)


def test_a_fractional_slope_gives_float_voxels(tmp_path):
    phantom = numbered_phantom((3, 4, 5))
    folder = write_dicom(tmp_path, phantom, edit=lambda k, d: setattr(d, 'RescaleSlope', 0.25))
    ct = parse_ct(folder)
    assert ct.hounsfield.dtype == np.float32
    np.testing.assert_allclose(ct.hounsfield, (phantom.hounsfield + 1024.0) * 0.25 - 1024)


@pytest.mark.parametrize('compressor', ['JPEG', 'JPEG2000'])
def test_lossless_compressed_slices_are_read(tmp_path, compressor):
    phantom = numbered_phantom((3, 16, 20))
    plain = parse_ct(write_dicom(tmp_path / 'plain', phantom))
    (tmp_path / 'packed').mkdir()
    for path in (tmp_path / 'plain').iterdir():
        compress(path, tmp_path / 'packed' / path.name, compressor)
    packed = parse_ct(tmp_path / 'packed')
    np.testing.assert_array_equal(packed.hounsfield, plain.hounsfield)
    np.testing.assert_allclose(packed.ct_from_index, plain.ct_from_index, atol=1e-6)


def compress(source: Path, target: Path, compressor: str) -> None:
    """Let GDCM pack the pixels, and keep the original header."""
    writer = SimpleITK.ImageFileWriter()
    writer.SetImageIO('GDCMImageIO')
    writer.SetUseCompression(True)
    writer.SetCompressor(compressor)
    dataset = pydicom.dcmread(source)
    stored = SimpleITK.GetImageFromArray(dataset.pixel_array[None])
    writer.SetFileName(str(target.with_suffix('.dcm')))
    writer.Execute(stored)
    packed = pydicom.dcmread(target.with_suffix('.dcm'))
    target.with_suffix('.dcm').unlink()
    assert packed.file_meta.TransferSyntaxUID.is_compressed
    dataset.file_meta.TransferSyntaxUID = packed.file_meta.TransferSyntaxUID
    dataset.PixelData = packed.PixelData
    dataset['PixelData'].is_undefined_length = True
    dataset.save_as(target)
