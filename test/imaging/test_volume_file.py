"""Volume files that must be refused, and the types of their voxels."""

from io import BytesIO

import numpy as np
import pytest
import SimpleITK

from sph_reg_ros.errors import CTError, ErrorCode
from sph_reg_ros.imaging.ct import load_ct
from sph_reg_ros.imaging.nifti_header import read_nifti_header
from sph_reg_ros.imaging.volume_file import volume_hash


def write_image(path, voxels, *, is_vector=False, direction=None):
    image = SimpleITK.GetImageFromArray(voxels, isVector=is_vector)
    if direction is not None:
        image.SetDirection(direction)
    SimpleITK.WriteImage(image, str(path))
    return path


def code_of(path) -> ErrorCode:
    with pytest.raises(CTError) as error:
        load_ct(path)
    return error.value.code


@pytest.mark.parametrize('suffix', ['.nii', '.nii.gz', '.nrrd', '.mha', '.mhd'])
def test_a_volume_of_one_slice_is_refused(tmp_path, suffix):
    path = write_image(tmp_path / f'ct{suffix}', np.zeros((1, 6, 5), np.int16))
    assert code_of(path) == ErrorCode.CT_TOO_FEW_SLICES


@pytest.mark.parametrize('suffix', ['.nii.gz', '.nrrd', '.mha'])
def test_two_and_four_dimensions_are_refused(tmp_path, suffix):
    flat = write_image(tmp_path / f'flat{suffix}', np.zeros((6, 5), np.int16))
    assert code_of(flat) == ErrorCode.CT_TOO_FEW_SLICES
    series = write_image(tmp_path / f'series{suffix}', np.zeros((2, 4, 6, 5), np.int16))
    assert code_of(series) == ErrorCode.CT_GEOMETRY


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize('suffix', ['.nii.gz', '.nrrd', '.mha'])
def test_nan_and_infinite_voxels_are_refused(tmp_path, suffix, value):
    voxels = np.zeros((3, 6, 5), np.float32)
    voxels[1, 2, 3] = value
    path = write_image(tmp_path / f'ct{suffix}', voxels)
    assert code_of(path) == ErrorCode.CT_UNREADABLE


@pytest.mark.parametrize('suffix', ['.nrrd', '.mha'])
def test_sheared_axes_are_refused(tmp_path, suffix):
    sheared = (1.0, 0.1, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    voxels = np.zeros((3, 6, 5), np.int16)
    path = write_image(tmp_path / f'ct{suffix}', voxels, direction=sheared)
    assert code_of(path) == ErrorCode.CT_GEOMETRY


QFORM_CODE, SFORM_CODE, SROW_X = 252, 254, 280  # offsets in the header


@pytest.mark.parametrize(
    'changes',
    [
        {QFORM_CODE: bytes(2), SFORM_CODE: bytes(2)},
        {SROW_X: np.float32([-1, 0.2, 0, 0]).tobytes()},
        {SROW_X: np.float32([-1, 0.2, 0, 0]).tobytes(), QFORM_CODE: bytes(2)},
        {SROW_X: np.float32([1, 0, 0, 0]).tobytes()},
        {SROW_X: np.float32([-3, 0, 0, 0]).tobytes()},
    ],
    ids=['no orientation', 'sheared', 'sheared, no qform', 'mirrored against qform', 'other scale'],
)
def test_a_nifti_whose_geometry_is_open_is_refused(tmp_path, changes):
    path = write_image(tmp_path / 'ct.nii', np.zeros((3, 6, 5), np.int16))
    content = bytearray(path.read_bytes())
    load_ct(path)
    for place, value in changes.items():
        content[place : place + len(value)] = value
    path.write_bytes(content)
    assert code_of(path) == ErrorCode.CT_GEOMETRY


def test_one_orientation_of_a_nifti_is_enough(tmp_path):
    path = write_image(tmp_path / 'ct.nii', np.zeros((3, 6, 5), np.int16))
    content, both = path.read_bytes(), load_ct(path)
    for code in (QFORM_CODE, SFORM_CODE):
        path.write_bytes(content[:code] + bytes(2) + content[code + 2 :])
        np.testing.assert_allclose(load_ct(path).ct_from_index, both.ct_from_index)


def test_what_is_no_whole_nifti_header_is_refused():
    with pytest.raises(ValueError, match='no NIfTI'):
        read_nifti_header(BytesIO(b'no such format'))
    with pytest.raises(EOFError):
        read_nifti_header(BytesIO((348).to_bytes(4, 'little')))


def test_colour_truncated_and_mislabelled_files_are_refused(tmp_path):
    colour = write_image(tmp_path / 'colour.mha', np.zeros((3, 6, 5, 3), np.uint8), is_vector=True)
    assert code_of(colour) == ErrorCode.CT_UNREADABLE
    voxels = np.random.default_rng(0).integers(-1000, 1000, (9, 16, 15)).astype(np.int16)
    for suffix in ('.nii', '.nii.gz', '.nrrd', '.mha'):
        path = write_image(tmp_path / f'cut{suffix}', voxels)
        path.write_bytes(path.read_bytes()[:-1000])
        assert code_of(path) == ErrorCode.CT_UNREADABLE, suffix
        path.write_bytes(b'no such format')
        assert code_of(path) == ErrorCode.CT_UNREADABLE, suffix


@pytest.mark.parametrize(
    'stored, scale, expected',
    [
        (np.int16, 1, np.int16),
        (np.uint8, 1, np.int16),
        (np.int32, 1, np.int16),
        (np.float32, 1, np.int16),  # whole numbers
        (np.float64, 0.25, np.float32),
        (np.int32, 1000, np.float32),
    ],
)
def test_voxels_take_the_smallest_type_that_holds_them(tmp_path, stored, scale, expected):
    voxels = (np.arange(120).reshape(4, 6, 5) * scale).astype(stored)
    ct = load_ct(write_image(tmp_path / 'ct.mha', voxels))
    assert ct.hounsfield.dtype == expected
    np.testing.assert_array_equal(ct.hounsfield, voxels)


def test_a_volume_hash_changes_with_a_voxel_a_type_or_a_geometry_but_not_with_rounding():
    voxels, grid = np.zeros((3, 4, 5), np.int16), np.eye(4)
    base = volume_hash(voxels, grid)
    changed = voxels.copy()
    changed[2, 3, 4] = 1
    moved = grid.copy()
    moved[0, 3] = 1e-3
    others = {
        volume_hash(changed, grid),
        volume_hash(voxels.astype(np.float32), grid),
        volume_hash(voxels.reshape(4, 3, 5), grid),
        volume_hash(voxels, moved),
    }
    assert base not in others and len(others) == 4
    assert volume_hash(voxels, grid * (1 + 1e-12)) == base == volume_hash(voxels, grid - 0.0)
