"""MetaImage headers: where the patient lies, and which files their voxels may come from."""

import zlib
from pathlib import Path

import numpy as np
import pytest

from sph_reg_ros.errors import CTError, ErrorCode
from sph_reg_ros.imaging.ct.read import parse_ct

VOXELS = np.random.default_rng(0).integers(-1000, 1000, (4, 5, 6)).astype(np.int16)


def write(path: Path, content: bytes = VOXELS.tobytes(), **changes: str) -> Path:
    """A sound file; '' leaves a field out."""
    fields = {
        'ObjectType': 'Image',
        'NDims': '3',
        'BinaryData': 'True',
        'BinaryDataByteOrderMSB': 'False',
        'TransformMatrix': '0.8 0.6 0 -0.6 0.8 0 0 0 1',
        'Offset': '10 -20 30',
        'ElementSpacing': '1 2 3',
        'DimSize': '6 5 4',
        'ElementType': 'MET_SHORT',
        'ElementDataFile': 'LOCAL',
    } | changes
    file = fields.pop('ElementDataFile')
    lines = [f'{name} = {value}' for name, value in fields.items() if value]
    header = '\n'.join([*lines, f'ElementDataFile = {file}', ''])
    path.write_bytes(header.encode() + content)
    return path


def assert_read(ct) -> None:
    np.testing.assert_array_equal(ct.hounsfield, VOXELS)
    columns = np.array([[0.8, -1.2, 0], [0.6, 1.6, 0], [0, 0, 3]])
    np.testing.assert_allclose(ct.ct_from_index[:3, :3], columns)
    np.testing.assert_allclose(ct.ct_from_index[:3, 3], (10, -20, 30))


def refusal(path: Path) -> CTError:
    with pytest.raises(CTError) as caught:
        parse_ct(path)
    return caught.value


@pytest.mark.parametrize('letters', ['', 'RAI', 'LPS', '???', 'rai'])
def test_the_transform_matrix_says_how_the_patient_lies(tmp_path, letters):
    ct = parse_ct(write(tmp_path / 'ct.mha', AnatomicalOrientation=letters))
    assert_read(ct)
    assert ct.assumptions == ()


@pytest.mark.parametrize('letters', ['LAI', 'RAS', 'RIA', 'LPI'])
def test_a_contradicting_anatomical_orientation_is_refused(tmp_path, letters):
    error = refusal(write(tmp_path / 'ct.mha', AnatomicalOrientation=letters))
    assert error.code == ErrorCode.CT_GEOMETRY and 'AnatomicalOrientation' in str(error)


def test_a_file_without_transform_matrix_is_refused_unless_lps_is_assumed(tmp_path):
    path = write(tmp_path / 'ct.mha', TransformMatrix='', AnatomicalOrientation='RAI')
    error = refusal(path)
    assert error.code == ErrorCode.CT_GEOMETRY and '--assume-lps' in str(error)
    ct = parse_ct(path, assume_lps=True)
    assert ct.orientation == 'LPS' and ct.spacing_mm == (1, 2, 3)
    assert 'left, back, head' in ct.assumptions[0]


def test_several_comments_are_no_fault(tmp_path):
    path = write(tmp_path / 'ct.mha')
    path.write_bytes(b'Comment = a\nComment = b\n' + path.read_bytes())
    assert_read(parse_ct(path))


def test_a_missing_offset_is_said_and_a_missing_spacing_refused(tmp_path):
    ct = parse_ct(write(tmp_path / 'ct.mha', Offset=''))
    assert 'first voxel' in ct.assumptions[0] and not ct.ct_from_index[:3, 3].any()
    assert refusal(write(tmp_path / 'no.mha', ElementSpacing='')).code == ErrorCode.CT_GEOMETRY
    named = {'ElementSpacing': '', 'ElementSize': '1 2 3', 'Offset': '', 'Position': '10 -20 30'}
    assert_read(parse_ct(write(tmp_path / 'other_names.mha', **named)))


def test_other_ways_to_store_voxels_are_read(tmp_path):
    text = ' '.join(map(str, VOXELS.ravel())).encode()
    big = VOXELS.astype('>i2').tobytes()
    ways = [
        (zlib.compress(VOXELS.tobytes()), {'CompressedData': 'True'}),
        (text, {'BinaryData': 'False'}),
        (big, {'BinaryDataByteOrderMSB': '', 'ElementByteOrderMSB': 'True'}),
        (VOXELS.astype('<f8').tobytes(), {'ElementType': 'MET_DOUBLE'}),
        (VOXELS.tobytes(), {'NDims': '4', 'DimSize': '6 5 4 1', 'ElementSpacing': '1 2 3 1',
                            'TransformMatrix': '0.8 0.6 0 0 -0.6 0.8 0 0 0 0 1 0 0 0 0 1',
                            'Offset': '10 -20 30 0'}),
    ]  # fmt: skip
    for number, (content, changes) in enumerate(ways):
        assert_read(parse_ct(write(tmp_path / f'{number}.mha', content, **changes)))


def test_a_header_reaches_no_file_outside_of_its_folder(tmp_path):
    inside = tmp_path / 'allowed'
    inside.mkdir()
    for place in (tmp_path, inside):
        (place / 'ct.raw').write_bytes(b'0123' + VOXELS.tobytes())
    (inside / 'link.raw').symlink_to(tmp_path / 'ct.raw')
    for size in ('4', '-1'):
        path = write(inside / 'ct.mhd', b'', ElementDataFile='ct.raw', HeaderSize=size)
        assert_read(parse_ct(path))
    names = (
        str(tmp_path / 'ct.raw'), '../ct.raw', 'link.raw', 'LIST\n../ct.raw', 'LIST 2D',
        '/etc/hosts', 'ct%03d.raw 1 4 1',
    )  # fmt: skip
    for name in names:
        for suffix in ('mhd', 'mha'):
            error = refusal(write(inside / f'bad.{suffix}', b'', ElementDataFile=name))
            assert error.code == ErrorCode.PATH_NOT_ALLOWED, name


@pytest.mark.parametrize(
    'changes',
    [
        {'NDims': '2'},
        {'DimSize': '6 5 40000'},
        {'DimSize': ''},
        {'ElementType': 'MET_SHORT_ARRAY'},
        {'ElementType': 'MET_STRING'},
        {'ElementNumberOfChannels': '3'},
        {'TransformMatrix': '1 0 0 0 1 0'},
        {'TransformMatrix': '2 0 0 0 1 0 0 0 1'},
        {'TransformMatrix': '1 0 0 0.3 0.954 0 0 0 1'},
        {'Offset': 'nan 0 0'},
        {'DistanceUnits': 'parsec'},
        {'ElementToIntensityFunctionSlope': '2'},
        {'CompressedData': 'True'},
        {'HeaderSize': '999'},
    ],
)
def test_a_header_that_makes_no_sense_is_refused(tmp_path, changes):
    refusal(write(tmp_path / 'ct.mha', **changes))
