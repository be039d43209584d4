import gzip
import sys

import numpy as np
import pytest
from body_files import label_phantom, write_labels, write_segmentation
from ct_files import Phantom, write_volume

from sph_reg_ros.errors import BodyError, ErrorCode, RuntimeUnavailableError
from sph_reg_ros.imaging.bodies.labels import names_of, parse_labels
from sph_reg_ros.imaging.bodies.totalsegmentator import STRUCTURES


@pytest.mark.parametrize('name', ['labels.nii.gz', 'labels.nrrd', 'labels.mha'])
def test_a_label_map_of_every_format_lies_where_its_header_says(tmp_path, name):
    found = parse_labels(write_labels(tmp_path, name))
    phantom = label_phantom()
    np.testing.assert_array_equal(found.labels, phantom.hounsfield)
    np.testing.assert_allclose(found.lps_from_index, phantom.ct_from_index, atol=1e-4)
    assert names_of(found)[29] == 'vertebrae_L3'


def test_a_dicom_segmentation_has_its_names_and_lies_on_its_ct(tmp_path):
    pytest.importorskip('highdicom')
    found = parse_labels(write_segmentation(tmp_path, {29: 'L3', 26: 'sacrum part'}))
    assert names_of(found) == {1: 'L3', 2: 'sacrum part'}
    phantom = label_phantom()
    for number, label in ((1, 29), (2, 26)):
        places = [
            np.sort(np.argwhere(values == wanted)[:, ::-1] @ affine[:3, :3].T + affine[:3, 3], 0)
            for values, wanted, affine in (
                (found.labels, number, found.lps_from_index),
                (phantom.hounsfield, label, phantom.ct_from_index),
            )
        ]
        np.testing.assert_allclose(places[0], places[1], atol=1e-3)


def test_names_that_totalsegmentator_writes_into_the_header_count(tmp_path):
    import nibabel

    path = write_labels(tmp_path)
    image = nibabel.load(path)
    table = '<LabelTable><Label Key="29" Red="0"><![CDATA[mine]]></Label></LabelTable>'
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension(0, table.encode()))
    nibabel.save(image, tmp_path / 'named.nii.gz')
    assert names_of(parse_labels(tmp_path / 'named.nii.gz')) == {29: 'mine'}


def test_names_that_slicer_writes_into_the_header_count(tmp_path):
    path = write_labels(tmp_path, 'labels.nrrd')
    magic, rest = path.read_bytes().split(b'\n', 1)
    fields = b'Segment0_Name:=third lumbar\nSegment0_LabelValue:=29\n'
    path.write_bytes(magic + b'\n' + fields + rest)
    assert names_of(parse_labels(path)) == {29: 'third lumbar'}


def test_totalsegmentators_structures_have_their_numbers():
    numbers = {name: number for number, name in enumerate(STRUCTURES, 1)}
    assert len(numbers) == 117
    assert numbers['sacrum'] == 25 and numbers['vertebrae_C1'] == 50
    assert numbers['femur_left'] == 75 and numbers['costal_cartilages'] == 117


@pytest.mark.parametrize('value', [-1, 0.5])
def test_values_that_are_no_labels_are_refused(tmp_path, value):
    values = np.full((4, 5, 6), value, np.float32)
    path = write_volume(tmp_path / 'ct.nii.gz', Phantom(values, np.diag([1.0, 1, 2, 1])))
    with pytest.raises(BodyError, match='no label map') as error:
        parse_labels(path)
    assert error.value.code == ErrorCode.BODY_LABELS


def test_a_damaged_file_is_refused(tmp_path):
    path = write_labels(tmp_path)
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-1000]))
    with pytest.raises(BodyError, match=r'labels.nii.gz cannot be read') as error:
        parse_labels(path)
    assert error.value.code == ErrorCode.BODY_UNREADABLE


def test_a_dicom_segmentation_without_highdicom_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / 'seg').write_bytes(b'\0' * 128 + b'DICM')
    monkeypatch.setitem(sys.modules, 'highdicom', None)
    with pytest.raises(RuntimeUnavailableError, match='highdicom'):
        parse_labels(tmp_path / 'seg')
