"""load_ct: the world is the same however and wherever the voxels are stored."""

from itertools import permutations, product

import numpy as np
import pydicom
import pytest
from ct_files import PATIENT_ID, numbered_phantom, write_dicom, write_volume
from hypothesis import given, settings
from hypothesis import strategies as st
from transforms3d.quaternions import quat2mat

from sph_reg_ros.errors import CTError, ErrorCode
from sph_reg_ros.imaging import load
from sph_reg_ros.imaging.ct.read import CT, parse_ct, parse_series
from sph_reg_ros.imaging.identity import hashed_identifier

FORMATS = ('dicom', '.nii.gz', '.nrrd', '.mha', '.mhd')
STORAGE_ORDERS = list(product(permutations(range(3)), product((False, True), repeat=3)))
POSITION_TOLERANCE_MM = 1e-3  # NIfTI keeps its affine in single precision


def write(folder, phantom, file_format):
    if file_format == 'dicom':
        return write_dicom(folder, phantom)
    return write_volume(folder / f'ct{file_format}', phantom)


def assert_same_world(ct: CT, phantom) -> None:
    """Find every voxel of the phantom, all of which differ, at its world position in the CT."""
    K, J, I = phantom.hounsfield.shape  # noqa: E741
    i, j, k = (axis.ravel() for axis in np.meshgrid(range(I), range(J), range(K), indexing='ij'))
    world = phantom.ct_from_index @ np.stack([i, j, k, np.ones_like(i)])
    index = np.linalg.inv(ct.ct_from_index) @ world
    nearest = np.rint(index)
    error_mm = np.linalg.norm((ct.ct_from_index @ (index - nearest))[:3], axis=0)
    assert error_mm.max() < POSITION_TOLERANCE_MM
    found = ct.hounsfield[tuple(nearest[axis].astype(int) for axis in (2, 1, 0))]
    np.testing.assert_array_equal(found, phantom.hounsfield[k, j, i])


@pytest.mark.parametrize('file_format', FORMATS)
@settings(max_examples=8, deadline=None, derandomize=True)
@given(data=st.data())
def test_the_world_depends_neither_on_format_nor_on_storage_order(
    tmp_path_factory, file_format, data
):
    quaternion = data.draw(st.tuples(*[st.integers(-4, 4)] * 4).filter(any))
    spacing = data.draw(st.permutations([0.7, 0.9, 2.5]))
    origin = data.draw(st.tuples(*[st.floats(-400, 400, width=16)] * 3))
    axes, flips = data.draw(st.sampled_from(STORAGE_ORDERS))
    phantom = numbered_phantom((3, 4, 5), spacing, quat2mat(np.array(quaternion, float)), origin)
    folder = tmp_path_factory.mktemp('ct')
    path = write(folder, phantom.stored_as(axes, flips), file_format)
    assert_same_world(parse_ct(path), phantom)


@pytest.mark.parametrize('file_format', FORMATS)
def test_every_storage_order_of_an_axial_ct_gives_the_same_world(tmp_path, file_format):
    phantom = numbered_phantom((2, 3, 4))
    for n, (axes, flips) in enumerate(STORAGE_ORDERS):
        folder = tmp_path / str(n)
        folder.mkdir()
        path = write(folder, phantom.stored_as(axes, flips), file_format)
        assert_same_world(parse_ct(path), phantom)


def test_a_negative_determinant_is_kept_and_not_canonicalised(tmp_path):
    phantom = numbered_phantom().stored_as((0, 1, 2), (False, True, False))
    ct = parse_ct(write_volume(tmp_path / 'ct.nrrd', phantom))
    assert ct.orientation == 'LAS'
    assert np.linalg.det(ct.ct_from_index[:3, :3]) < 0
    np.testing.assert_array_equal(ct.hounsfield, phantom.hounsfield)
    np.testing.assert_allclose(ct.ct_from_index, phantom.ct_from_index, atol=1e-9)


def test_row_spacing_of_dicom_is_the_distance_of_rows(tmp_path):
    phantom = numbered_phantom(spacing=(0.7, 0.9, 2.5))
    ct = parse_ct(write_dicom(tmp_path, phantom))
    assert ct.spacing_mm == pytest.approx((0.7, 0.9, 2.5))
    assert ct.hounsfield.dtype == np.int16


def test_several_series_are_listed_and_one_can_be_chosen(tmp_path):
    first, second = numbered_phantom((3, 4, 5)), numbered_phantom((4, 6, 5))
    write_dicom(tmp_path, first, uid='1.2.3.1')
    write_dicom(tmp_path, second, uid='1.2.3.2')
    with pytest.raises(CTError) as error:
        parse_ct(tmp_path)
    assert error.value.code == ErrorCode.CT_SEVERAL_SERIES
    assert '1.2.3.1  Thorax 2.5  3 slices' in str(error.value)
    assert '1.2.3.2  Thorax 2.5  4 slices' in str(error.value)
    assert [(s.uid, s.slices) for s in parse_series(tmp_path)] == [('1.2.3.1', 3), ('1.2.3.2', 4)]
    ct = parse_ct(tmp_path, series_uid='1.2.3.2')
    assert_same_world(ct, second)
    assert ct.series_uid_hash == hashed_identifier('1.2.3.2')
    with pytest.raises(CTError, match='no series 1.2.3.9'):
        parse_ct(tmp_path, series_uid='1.2.3.9')


def test_scouts_in_a_series_of_their_own_are_not_meant(tmp_path):
    def scout(k, dataset):
        dataset.ImageType = ['ORIGINAL', 'PRIMARY', 'LOCALIZER']

    phantom = numbered_phantom()
    write_dicom(tmp_path / 'scout', numbered_phantom((2, 4, 5)), uid='1.2.3.1', edit=scout)
    with pytest.raises(CTError, match='localizers') as error:
        parse_ct(tmp_path)
    assert error.value.code == ErrorCode.CT_UNREADABLE
    write_dicom(tmp_path / 'ct', phantom, uid='1.2.3.2')
    assert_same_world(parse_ct(tmp_path), phantom)
    assert [info.uid for info in parse_series(tmp_path)] == ['1.2.3.2', '1.2.3.1']


def test_other_files_and_other_modalities_in_the_folder_are_ignored(tmp_path):
    phantom = numbered_phantom()
    write_dicom(tmp_path, phantom)
    write_dicom(tmp_path, phantom, edit=lambda k, dataset: setattr(dataset, 'Modality', 'MR'))
    (tmp_path / 'README.txt').write_text('not DICOM')
    (tmp_path / 'empty').touch()
    (tmp_path / 'subfolder').mkdir()
    assert_same_world(parse_ct(tmp_path), phantom)


def test_a_study_folder_or_a_disc_is_read_by_its_subfolders(tmp_path):
    phantom = numbered_phantom()
    write_dicom(tmp_path / 'STUDY 1' / 'Séries', phantom, uid='1.2.3.1')
    (tmp_path / 'loop').symlink_to(tmp_path)
    (tmp_path / 'README.txt').write_text('not DICOM' * 20)
    assert_same_world(parse_ct(tmp_path), phantom)
    (tmp_path / 'DICOMDIR').write_bytes(bytes(128) + b'DICM')
    assert_same_world(parse_ct(tmp_path), phantom)
    assert_same_world(parse_ct(tmp_path / 'DICOMDIR'), phantom)
    assert_same_world(load.load_ct(tmp_path / 'DICOMDIR'), phantom)
    write_dicom(tmp_path / 'STUDY 2', phantom, uid='1.2.3.2')
    with pytest.raises(CTError) as error:
        parse_ct(tmp_path)
    assert error.value.code == ErrorCode.CT_SEVERAL_SERIES
    assert [info.uid for info in parse_series(tmp_path)] == ['1.2.3.1', '1.2.3.2']
    assert load.list_series(tmp_path) == parse_series(tmp_path)
    # What lies in the folder itself is what is meant.
    write_dicom(tmp_path, numbered_phantom((3, 4, 5)), uid='1.2.3.3')
    assert [info.uid for info in parse_series(tmp_path)] == ['1.2.3.3']


@pytest.mark.parametrize('implicit', [True, False])
def test_files_without_preamble_are_read(tmp_path, implicit):
    phantom = numbered_phantom()
    write_dicom(tmp_path, phantom)
    (tmp_path / 'README.txt').write_text('not DICOM' * 20)
    (tmp_path / 'noise').write_bytes(b'\x08\0\x05\0CS' + bytes(200))
    for path in list(tmp_path.iterdir()):
        if path.name in ('README.txt', 'noise'):
            continue
        dataset = pydicom.dcmread(path)
        del dataset.file_meta, dataset.preamble
        pydicom.dcmwrite(path, dataset, implicit_vr=implicit, little_endian=True)
        assert path.read_bytes()[128:132] != b'DICM'
    assert_same_world(parse_ct(tmp_path), phantom)


def test_hashes_name_series_and_patient_without_their_identifiers(tmp_path):
    phantom = numbered_phantom()
    ct = parse_ct(write_dicom(tmp_path, phantom, uid='1.2.3.1'))
    assert ct.series_uid_hash == hashed_identifier('1.2.3.1') != ''
    assert ct.patient_hash == hashed_identifier(PATIENT_ID) != ''
    assert PATIENT_ID not in repr(ct)


def test_a_volume_file_is_named_by_its_voxels_and_geometry(tmp_path):
    phantom = numbered_phantom()
    other = numbered_phantom(origin=(0.0, 0.0, 0.0))
    nrrd, mha, moved = (
        parse_ct(write_volume(tmp_path / name, which)).series_uid_hash
        for name, which in (('a.nrrd', phantom), ('b.mha', phantom), ('c.nrrd', other))
    )
    assert nrrd == mha != moved


def test_a_missing_path_an_unknown_format_and_an_empty_folder_are_refused(tmp_path):
    (tmp_path / 'ct.xyz').write_bytes(b'?')
    for name, message in (('absent', 'no such file'), ('ct.xyz', 'format'), ('.', 'no DICOM')):
        with pytest.raises(CTError, match=message) as error:
            parse_ct(tmp_path / name)
        assert error.value.code == ErrorCode.CT_UNREADABLE
    with pytest.raises(CTError, match='no such file'):
        parse_series(tmp_path / 'absent')
    assert parse_series(tmp_path / 'ct.xyz') == []


def test_a_single_dicom_file_is_refused_with_the_advice_to_give_its_folder(tmp_path):
    folder = write_dicom(tmp_path, numbered_phantom())
    with pytest.raises(CTError, match='folder') as error:
        parse_ct(next(folder.iterdir()))
    assert error.value.code == ErrorCode.CT_TOO_FEW_SLICES
