"""NRRD headers: where the patient lies, and which files their voxels may come from."""

import bz2
import gzip
from pathlib import Path

import numpy as np
import pytest

from sph_reg_ros.errors import CTError, ErrorCode
from sph_reg_ros.imaging.ct.read import parse_ct

VOXELS = np.random.default_rng(0).integers(-1000, 1000, (4, 5, 6)).astype(np.int16)
STEPS = np.array([[0.8, 0.6, 0.0], [-0.6, 0.8, 0.0], [0.0, 0.0, 3.0]])  # of i, j, k in LPS
ORIGIN = np.array([10.0, -20.0, 30.0])
SPACES = {
    'left-posterior-superior': (1, 1, 1),
    'right-anterior-superior': (-1, -1, 1),
    'left-anterior-superior': (1, -1, 1),
    'LPS': (1, 1, 1),
    'RAS': (-1, -1, 1),
    'LAS': (1, -1, 1),
    'Left-Anterior-Superior': (1, -1, 1),
}


def vector(numbers) -> str:
    return '(' + ','.join(f'{number:g}' for number in numbers) + ')'


def header_lines(**changes: str) -> list[str]:
    """The fields of a sound header in LPS; '' leaves one out, _ stands for a space."""
    fields = {
        'type': 'short',
        'dimension': '3',
        'space': 'left-posterior-superior',
        'sizes': '6 5 4',
        'space directions': ' '.join(map(vector, STEPS)),
        'endian': 'little',
        'encoding': 'raw',
        'space origin': vector(ORIGIN),
    } | {name.replace('_', ' '): value for name, value in changes.items()}
    return ['NRRD0004', '# made here', *(f'{n}: {v}' for n, v in fields.items() if v)]


def write(path: Path, content: bytes = VOXELS.tobytes(), **changes: str) -> Path:
    path.write_bytes('\n'.join([*header_lines(**changes), 'key:=value', '', '']).encode() + content)
    return path


def assert_read(ct) -> None:
    np.testing.assert_array_equal(ct.hounsfield, VOXELS)
    np.testing.assert_allclose(ct.ct_from_index[:3, :3], STEPS.T, atol=1e-6)
    np.testing.assert_allclose(ct.ct_from_index[:3, 3], ORIGIN)


def refusal(path: Path, **options) -> CTError:
    with pytest.raises(CTError) as caught:
        parse_ct(path, **options)
    return caught.value


@pytest.mark.parametrize('space', SPACES)
def test_every_named_space_gives_the_same_place_in_the_patient(tmp_path, space):
    signs = np.array(SPACES[space])
    directions = ' '.join(vector(step * signs) for step in STEPS)
    path = write(
        tmp_path / 'ct.nrrd',
        space=space,
        space_directions=directions,
        space_origin=vector(ORIGIN * signs),
    )
    ct = parse_ct(path)
    assert_read(ct)
    assert ct.orientation == 'LPS' and ct.assumptions == ()


@pytest.mark.parametrize('time_first', [True, False])
@pytest.mark.parametrize('space', ['left-anterior-superior-time', 'LAST'])
def test_a_space_with_time_and_one_volume_is_read(tmp_path, space, time_first):
    signs = np.array([1, -1, 1])
    steps = [vector([*step * signs, 0]) for step in STEPS]
    steps.insert(0 if time_first else 3, '(0,0,0,1)')
    path = write(
        tmp_path / 'ct.nrrd',
        dimension='4',
        space=space,
        sizes='1 6 5 4' if time_first else '6 5 4 1',
        space_directions=' '.join(steps),
        space_origin=vector([*ORIGIN * signs, 0]),
    )
    assert_read(parse_ct(path))


def test_an_axis_without_direction_is_left_out_if_it_has_one_sample(tmp_path):
    steps = ' '.join(map(vector, STEPS))
    one = {'dimension': '4', 'sizes': '1 6 5 4', 'space_directions': f'none {steps}'}
    assert_read(parse_ct(write(tmp_path / 'ct.nrrd', **one, kinds='vector domain domain domain')))
    two = one | {'sizes': '2 6 5 4', 'kinds': 'vector domain domain domain'}
    colour = write(tmp_path / 'colour.nrrd', VOXELS.tobytes() * 2, **two)
    assert refusal(colour).code == ErrorCode.CT_UNREADABLE
    last = {'dimension': '4', 'sizes': '6 5 4 2', 'space_directions': f'{steps} none'}
    series = write(tmp_path / 'series.nrrd', VOXELS.tobytes() * 2, **last)
    assert refusal(series).code == ErrorCode.CT_GEOMETRY


@pytest.mark.parametrize(
    'changes',
    [
        {'space': '', 'space_directions': '', 'space_origin': '', 'spacings': '1 1 3'},
        {'space': '', 'space_dimension': '3'},
        {'space': 'scanner-xyz'},
        {'space': '3D-left-handed'},
        {'space_directions': '', 'spacings': '1 1 3'},
    ],
    ids=['no space', 'dimension only', 'scanner', 'handed', 'spacings only'],
)
def test_a_file_that_does_not_say_how_the_patient_lies_is_refused_unless_lps_is_assumed(
    tmp_path, changes
):
    path = write(tmp_path / 'ct.nrrd', **changes)
    error = refusal(path)
    assert error.code == ErrorCode.CT_GEOMETRY and '--assume-lps' in str(error)
    ct = parse_ct(path, assume_lps=True)
    np.testing.assert_array_equal(ct.hounsfield, VOXELS)
    np.testing.assert_allclose(ct.spacing_mm, (1, 1, 3), rtol=1e-6)
    assert ct.orientation == 'LPS'
    assert any('left, back, head' in text for text in ct.assumptions)


def test_spacings_of_a_space_that_is_not_lps_are_not_taken_for_lps(tmp_path):
    turned = {'space': 'RAS', 'space_directions': '', 'spacings': '1 1 3'}
    assert refusal(write(tmp_path / 'ct.nrrd', **turned), assume_lps=True).code == (
        ErrorCode.CT_GEOMETRY
    )


def test_a_missing_origin_is_said(tmp_path):
    ct = parse_ct(write(tmp_path / 'ct.nrrd', space_origin=''))
    assert ct.ct_from_index[:3, 3].tolist() == [0, 0, 0]
    assert 'first voxel' in ct.assumptions[0]


@pytest.mark.parametrize('unit, factor', [('m', 0.001), ('cm', 0.1), ('um', 1000.0)])
def test_lengths_are_in_the_unit_that_the_header_says(tmp_path, unit, factor):
    path = write(
        tmp_path / 'ct.nrrd',
        space_units=f'"{unit}" "{unit}" "{unit}"',
        space_directions=' '.join(vector(step * factor) for step in STEPS),
        space_origin=vector(ORIGIN * factor),
    )
    assert_read(parse_ct(path))
    parsecs = write(tmp_path / 'far.nrrd', space_units='"pc" "pc" "pc"')
    assert refusal(parsecs).code == ErrorCode.CT_GEOMETRY


@pytest.mark.parametrize('encoding', ['gzip', 'gz', 'bzip2', 'ascii', 'hex'])
@pytest.mark.parametrize('detached', [False, True])
def test_every_encoding_is_read(tmp_path, encoding, detached):
    raw = VOXELS.tobytes()
    content = {
        'gzip': gzip.compress(raw),
        'gz': gzip.compress(raw),
        'bzip2': bz2.compress(raw),
        'ascii': ' '.join(map(str, VOXELS.ravel())).encode(),
        'hex': raw.hex().encode(),
    }[encoding]
    if detached:
        (tmp_path / 'my voxels.bin').write_bytes(content)
        path = write(tmp_path / 'ct.nhdr', b'', encoding=encoding, data_file='my voxels.bin')
    else:
        path = write(tmp_path / 'ct.nrrd', content, encoding=encoding)
    assert_read(parse_ct(path))


def test_voxels_that_are_all_alike_are_unpacked(tmp_path):
    air = np.full((20, 300, 300), -1000, '<i2')
    for encoding, pack in (('bzip2', bz2.compress), ('gzip', gzip.compress)):
        path = write(
            tmp_path / 'ct.nrrd', pack(air.tobytes()), encoding=encoding, sizes='300 300 20'
        )
        np.testing.assert_array_equal(parse_ct(path).hounsfield, air)


def test_a_gzip_file_of_several_streams_is_read_as_one(tmp_path):
    raw = VOXELS.tobytes()
    content = gzip.compress(raw[:30]) + gzip.compress(b'') + gzip.compress(raw[30:]) + bytes(5)
    assert_read(parse_ct(write(tmp_path / 'ct.nrrd', content, encoding='gzip')))


def test_big_endian_voxels_and_skipped_bytes_are_read(tmp_path):
    big = VOXELS.astype('>i2').tobytes()
    (tmp_path / 'ct.raw').write_bytes(b'two\nlines\nand more' + big)
    skips = ({'line_skip': '2', 'byte_skip': '8'}, {'byte_skip': '18'}, {'byte_skip': '-1'})
    for skip in skips:
        assert_read(
            parse_ct(write(tmp_path / 'ct.nhdr', b'', endian='big', datafile='ct.raw', **skip))
        )


def test_a_header_reaches_no_file_outside_of_its_folder(tmp_path):
    inside = tmp_path / 'allowed'
    (inside / 'below').mkdir(parents=True)
    for place in (tmp_path, inside / 'below'):
        (place / 'ct.raw').write_bytes(VOXELS.tobytes())
    (inside / 'link.raw').symlink_to(tmp_path / 'ct.raw')
    (inside / 'door').symlink_to(tmp_path)
    assert_read(parse_ct(write(inside / 'ct.nhdr', b'', data_file='below/ct.raw')))
    names = [
        str(tmp_path / 'ct.raw'), '../ct.raw', 'below/../../ct.raw', 'link.raw', 'door/ct.raw',
        'LIST\n../ct.raw', 'LIST', '../ct%d.raw 1 1 1', 'ct%03d.raw 0 3 1', '/etc/passwd',
    ]  # fmt: skip
    for name in names:
        for suffix in ('nhdr', 'nrrd'):
            error = refusal(write(inside / f'bad.{suffix}', b'', data_file=name))
            assert error.code == ErrorCode.PATH_NOT_ALLOWED, name
    gone = refusal(write(inside / 'gone.nhdr', b'', data_file='gone.raw'))
    assert gone.code == ErrorCode.CT_UNREADABLE


@pytest.mark.parametrize(
    'changes',
    [
        {'sizes': '6 5'},
        {'sizes': '6 5 40000'},
        {'sizes': '6 5 x'},
        {'type': 'block'},
        {'encoding': 'zip'},
        {'endian': ''},
        {'space_directions': '(1,0,0)'},
        {'space_directions': '(1,0,0) (0,1,0) (0,0,nan)'},
        {'space_directions': '(1,0,0) (0,1,0) (0,0,0)'},
        {'space_directions': '(1,0,0) (0.3,1,0) (0,0,1)'},
        {'space_origin': '(a,b,c)'},
        {'space_origin': 'none'},
        {'byte_skip': '99999999999999'},
        {'line_skip': '99999999'},
        {'data_file': '\0'},
        {'dimension': '3\nsizes: 6 5 4'},
    ],
)
def test_a_header_that_makes_no_sense_is_refused(tmp_path, changes):
    refusal(write(tmp_path / 'ct.nrrd', **changes))


def test_a_packed_file_with_a_wrong_checksum_or_cut_off_is_refused(tmp_path):
    packed = gzip.compress(VOXELS.tobytes())
    for content in (packed[:-8] + b'\1' * 8, packed[:-20], packed[:30], b''):
        error = refusal(write(tmp_path / 'ct.nrrd', content, encoding='gzip'))
        assert error.code == ErrorCode.CT_UNREADABLE


def test_random_bytes_in_a_header_are_refused_or_read(tmp_path):
    path = write(tmp_path / 'ct.nrrd')
    sound, generator = path.read_bytes(), np.random.default_rng(1)
    for _ in range(300):
        mutant = bytearray(sound)
        for place in generator.integers(0, len(sound), 4):
            mutant[place] = generator.integers(0, 256)
        path.write_bytes(mutant)
        try:
            parse_ct(path)
        except CTError:
            pass
