"""Volume files that must be refused, and the types of their voxels."""

import sys

import nibabel
import numpy as np
import pytest
import SimpleITK
from mutants import mutants

from sph_reg_ros.errors import CTError, ErrorCode
from sph_reg_ros.imaging.ct.read import parse_ct
from sph_reg_ros.imaging.ct.volume_file import volume_hash


def write_image(path, voxels, *, is_vector=False, direction=None):
    image = SimpleITK.GetImageFromArray(voxels, isVector=is_vector)
    if direction is not None:
        image.SetDirection(direction)
    SimpleITK.WriteImage(image, str(path))
    return path


def code_of(path) -> ErrorCode:
    with pytest.raises(CTError) as error:
        parse_ct(path)
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
    parse_ct(path)
    for place, value in changes.items():
        content[place : place + len(value)] = value
    path.write_bytes(content)
    assert code_of(path) == ErrorCode.CT_GEOMETRY


def test_one_orientation_of_a_nifti_is_enough(tmp_path):
    path = write_image(tmp_path / 'ct.nii', np.zeros((3, 6, 5), np.int16))
    content, both = path.read_bytes(), parse_ct(path)
    for code in (QFORM_CODE, SFORM_CODE):
        path.write_bytes(content[:code] + bytes(2) + content[code + 2 :])
        np.testing.assert_allclose(parse_ct(path).ct_from_index, both.ct_from_index)


@pytest.mark.parametrize('code, says', [(1, False), (2, False), (3, True), (4, True)])
def test_an_orientation_in_an_atlas_alone_is_said(tmp_path, code, says):
    changes = {SFORM_CODE: bytes([code, 0]), QFORM_CODE: bytes(2)}
    assert bool(parse_ct(nifti(tmp_path / 'ct.nii', changes)).assumptions) == says


SLOPE, INTERCEPT, UNITS, PIXDIM, QFAC, MAGIC = 112, 116, 123, 80, 76, 344


def nifti(path, changes=(), voxels=None):
    """Write a sound NIfTI file, with bytes of its header changed."""
    voxels = np.arange(90).reshape(3, 6, 5) if voxels is None else voxels
    write_image(path, voxels.astype(np.int16))
    content = bytearray(path.read_bytes())
    for place, value in dict(changes).items():
        content[place : place + len(value)] = value
    path.write_bytes(content)
    return path


def single(*numbers: float) -> bytes:
    return np.float32(numbers).tobytes()


@pytest.mark.parametrize(
    'slope, intercept, expected',
    [
        (0, -1024, (1, 0)),
        (0, 0, (1, 0)),
        (np.nan, np.nan, (1, 0)),
        (np.inf, 0, (1, 0)),
        (1, np.nan, (1, 0)),
        (1, -1024, (1, -1024)),
        (0.5, 10, (0.5, 10)),
    ],
)
def test_the_scaling_of_a_nifti_is_none_where_its_slope_is_zero(
    tmp_path, slope, intercept, expected
):
    changes = {SLOPE: single(slope), INTERCEPT: single(intercept)}
    ct = parse_ct(nifti(tmp_path / 'ct.nii', changes))
    stored = np.arange(90).reshape(3, 6, 5)
    np.testing.assert_array_equal(ct.hounsfield, stored * expected[0] + expected[1])


@pytest.mark.parametrize('suffix', ['.nii', '.nii.gz'])
@pytest.mark.parametrize('order', ['<', '>'])
def test_nifti_2_and_both_byte_orders_are_read(tmp_path, suffix, order):
    stored = np.arange(90, dtype=np.int16).reshape(3, 6, 5)
    affine = np.array([[-2.0, 0, 0, 40], [0, -2, 0, 30], [0, 0, 3, -50], [0, 0, 0, 1]])
    for kind in (nibabel.Nifti1Image, nibabel.Nifti2Image):
        header = kind.header_class(endianness=order)
        image = kind(stored.T[..., None], affine, header)
        path = tmp_path / f'{kind.__name__}{suffix}'
        nibabel.save(image, path)
        ct = parse_ct(path)
        np.testing.assert_array_equal(ct.hounsfield, stored)
        np.testing.assert_allclose(ct.ct_from_index, np.diag([-1, -1, 1, 1]) @ affine)


@pytest.mark.parametrize('unit, factor', [(1, 0.001), (2, 1), (3, 1000), (0, 1)])
def test_lengths_of_a_nifti_are_in_its_own_unit(tmp_path, unit, factor):
    spacing = {PIXDIM: single(*np.multiply((1, 1, 2.5), factor)), UNITS: bytes([unit])}
    rows = np.diag([-1, -1, 2.5, 1])[:3] * factor
    path = nifti(tmp_path / 'ct.nii', spacing | {SROW_X: single(*rows.ravel())})
    np.testing.assert_allclose(parse_ct(path).spacing_mm, (1, 1, 2.5), rtol=1e-6)


@pytest.mark.parametrize('cosine, accepted', [(1e-4, True), (9e-4, True), (2e-3, False)])
def test_axes_may_leave_the_right_angle_by_rounding(tmp_path, cosine, accepted):
    a = np.sqrt(0.5)
    axes = np.array([[a, -a, 0], [a * 0.8, a * 0.8, -0.6], [a * 0.6, a * 0.6, 0.8]])
    sheared = axes.copy()
    sheared[:, 0] += cosine * axes[:, 1]
    rows = np.column_stack([sheared, (1, 2, 3)])
    changes = {QFORM_CODE: bytes(2), SROW_X: single(*rows.ravel())}
    path = nifti(tmp_path / 'ct.nii', changes)
    if accepted:
        assert sorted(parse_ct(path).orientation) in (['A', 'L', 'S'], ['A', 'R', 'S'])
    else:
        assert code_of(path) == ErrorCode.CT_GEOMETRY


def test_a_nifti_without_orientation_can_be_taken_for_lps(tmp_path):
    codes = {QFORM_CODE: bytes(2), SFORM_CODE: bytes(2), PIXDIM: single(1, 2, 3)}
    path = nifti(tmp_path / 'ct.nii', codes)
    with pytest.raises(CTError, match='assume-lps'):
        parse_ct(path)
    ct = parse_ct(path, assume_lps=True)
    assert ct.orientation == 'LPS' and ct.spacing_mm == (1, 2, 3)
    assert 'left, back, head' in ct.assumptions[0]
    sound = nifti(tmp_path / 'sound.nii')
    assert parse_ct(sound, assume_lps=True).assumptions == ()
    np.testing.assert_array_equal(
        parse_ct(sound, assume_lps=True).ct_from_index, parse_ct(sound).ct_from_index
    )


@pytest.mark.parametrize(
    'changes',
    [
        {0: bytes(4)},
        {MAGIC: b'ni1'},
        {MAGIC: bytes(4)},
        {40: b'\xff\xff' * 8},
        {70: b'\x99\x09'},
        {70: b'\x80\x00'},
        {108: single(1e9)},
        {108: single(np.nan)},
        {SROW_X: single(np.nan)},
    ],
)
def test_a_nifti_header_that_makes_no_sense_is_refused(tmp_path, changes):
    with pytest.raises(CTError):
        parse_ct(nifti(tmp_path / 'ct.nii', changes))
    (tmp_path / 'short.nii').write_bytes(b'\x5c\x01\0\0')
    assert code_of(tmp_path / 'short.nii') == ErrorCode.CT_UNREADABLE


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    path = nifti(tmp_path / 'ct.nii')
    monkeypatch.delitem(sys.modules, 'sph_reg_ros.imaging.ct.nifti', raising=False)
    monkeypatch.setitem(sys.modules, 'nibabel.nifti1', None)
    with pytest.raises(CTError, match='pip install nibabel'):
        parse_ct(path)


def test_mutants_of_a_nifti_are_read_or_refused(tmp_path):
    path = nifti(tmp_path / 'ct.nii')
    for mutant in mutants(path.read_bytes(), 300, seed=0):
        path.write_bytes(mutant)
        try:
            parse_ct(path)
        except CTError:
            pass


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
    ct = parse_ct(write_image(tmp_path / 'ct.mha', voxels))
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
