"""Landmarks as a start: files, and a registration from them."""

import json

import cv2
import numpy as np
import pytest
import torch
import yaml
from cli_files import BEAM, SIZE, attenuation_of, body, camera_content

from sph_reg_ros.cli.landmark_file import read_landmarks, require_inside
from sph_reg_ros.cli.start import StartOptions
from sph_reg_ros.cli.xray_views import BeamOptions, read_xrays
from sph_reg_ros.errors import PoseError
from sph_reg_ros.geometry import Camera, se3

OFFSETS = [[-30, 20, 25], [32, 12, -20], [5, -35, 8], [18, 28, 30], [-25, -12, -28], [8, 4, 12]]
POINTS = [[1.0, 2, 3], [4, 5, 6], [7, 8, 9], [-1, -2, -3]]
PIXELS = [[10.0, 20], [30, 40], [50, 60], [70, 80]]
NAMES = ('L1', 'L2', 'left hip', 'L4')


def rows(names=NAMES, between=', '):
    return [
        between.join(map(str, [name, *point, *pixel]))
        for name, point, pixel in zip(names, POINTS, PIXELS, strict=True)
    ]


def entries():
    return [
        {'name': name, 'ct': point, 'pixel': pixel}
        for name, point, pixel in zip(NAMES, POINTS, PIXELS, strict=True)
    ]


FORMATS = {
    'csv': '\n'.join(rows()),
    'csv with a head': '# mine\nname,x,y,z,column,row\n' + '\n'.join(rows(between=',')),
    'semicolons': '\n'.join(rows(between=';')),
    'json': json.dumps({'landmarks': entries()}),
    'json list': json.dumps(entries()),
    'yaml': 'landmarks:\n' + '\n'.join(f'- {json.dumps(entry)}' for entry in entries()),
}


@pytest.mark.parametrize('kind', FORMATS)
def test_pairs_are_read_from_csv_yaml_and_json(tmp_path, kind):
    (tmp_path / 'pairs').write_text(FORMATS[kind])
    read = read_landmarks(tmp_path / 'pairs')
    assert read.names == NAMES
    assert np.array_equal(read.ct_mm, POINTS) and np.array_equal(read.pixels, PIXELS)


def test_names_may_be_missing(tmp_path):
    lines = [' '.join(map(str, [*p, *q])) for p, q in zip(POINTS, PIXELS, strict=True)]
    (tmp_path / 'pairs.txt').write_text('\n'.join(lines))
    assert read_landmarks(tmp_path / 'pairs.txt').names == ('1', '2', '3', '4')


@pytest.mark.parametrize('system, sign', [('LPS', 1), ('RAS', -1)])
def test_points_of_slicer_are_joined_with_pixels_by_their_labels(tmp_path, system, sign):
    points = [
        {'label': name, 'position': [sign * x, sign * y, z]}
        for name, (x, y, z) in zip(NAMES, POINTS, strict=True)
    ]
    markup = {'type': 'Fiducial', 'coordinateSystem': system, 'controlPoints': points}
    (tmp_path / 'spine.mrk.json').write_text(json.dumps({'markups': [markup]}))
    content = {
        'markups': 'spine.mrk.json',
        'pixels': dict(zip(NAMES, PIXELS, strict=True)),
    }
    (tmp_path / 'pairs.json').write_text(json.dumps(content))
    read = read_landmarks(tmp_path / 'pairs.json')
    assert np.array_equal(read.ct_mm, POINTS) and read.names == NAMES
    with pytest.raises(PoseError, match='the pixels are missing'):
        read_landmarks(tmp_path / 'spine.mrk.json')
    content['pixels'] = {'L9': [1, 2]}
    (tmp_path / 'pairs.json').write_text(json.dumps(content))
    with pytest.raises(PoseError, match='no point L9, but L1, L2'):
        read_landmarks(tmp_path / 'pairs.json')


@pytest.mark.parametrize(
    'text, reason',
    [
        ('', 'no landmarks'),
        ('just words', 'no landmarks'),
        ('L1, 1, 2, 3, 4', 'no landmarks'),
        ('L1, 1, 2, 3, 4, 5\nL2, 1, 2', 'no landmarks'),
        ('L1, 1, 2, 3, 4, nan', 'not finite'),
        ('{"landmarks": [{"ct": [1, 2, 3]}]}', 'pixel of 1'),
        ('{"landmarks": [[1, 2, 3, 4]]}', '3 numbers in the CT and 2'),
        ('{"landmarks": [7]}', 'no pair'),
        ('{"markups": "none.mrk.json", "pixels": {"a": [1, 2]}}', 'none.mrk.json cannot be read'),
        ('[' * 3000, 'neither YAML nor JSON'),
    ],
)
def test_other_files_are_refused_with_what_they_must_hold(tmp_path, text, reason):
    (tmp_path / 'pairs.txt').write_text(text)
    with pytest.raises(PoseError, match='pairs.txt.*') as refused:
        read_landmarks(tmp_path / 'pairs.txt')
    assert reason in str(refused.value) and 'COLUMN, ROW' in str(refused.value)


def write_pairs(path, files, *, scale=(1, 1, 1), noise_px=2.0):
    """Points of the phantom, and where they are in xray.png, clicked with an error."""
    points = files.centre + torch.tensor(OFFSETS, dtype=torch.float64)
    camera = Camera.from_geometry(1000, (2.2, 2.0), SIZE)
    pixels = camera.project(se3.transform_points(files.poses[0], points)).numpy()
    pixels += np.random.default_rng(4).normal(0, noise_px, pixels.shape)
    np.savetxt(path, np.c_[points.numpy() * scale, pixels], delimiter=',')
    return path


def test_landmarks_are_a_start_from_which_the_pose_is_found(files, tmp_path):
    pairs = write_pairs(tmp_path / 'pairs.csv', files)
    done = files.register(*BEAM, '--landmarks', pairs, '--output', tmp_path / 'out')
    assert done.exit_code == 0, done.output
    assert 'start        pairs.csv: 6 pairs, ' in done.output
    assert 'px off at the result\n' in done.output
    result = json.loads((tmp_path / 'out' / 'registration.json').read_text())
    in_plane_mm, degrees = files.error_of(result['camera_from_ct'][0])
    assert in_plane_mm < 0.5 and degrees < 0.5
    assert 0 < result['landmarks_px'] < 6


@pytest.mark.parametrize(
    'scale, hint', [((-1, -1, 1), 'in RAS'), ((1e-3,) * 3, 'in metres'), ((3, 1, 1), 'check its')]
)
def test_points_outside_the_ct_are_refused_with_what_they_seem_to_be(files, tmp_path, scale, hint):
    landmarks = read_landmarks(write_pairs(tmp_path / 'pairs.csv', files, scale=scale))
    with pytest.raises(PoseError, match=f'outside the CT: .*{hint}'):
        require_inside(landmarks, attenuation_of(body()))


def test_pixels_of_an_image_with_distortion_are_rectified_as_the_image_is(files, tmp_path):
    camera, lens = Camera.from_geometry(1000, (2.2, 2.0), SIZE), (1.2, 8.0, 0.01, -0.02, 0.0)
    pairs = read_landmarks(write_pairs(tmp_path / 'pairs.csv', files, noise_px=0))
    points = se3.transform_points(files.poses[0], torch.from_numpy(pairs.ct_mm)).numpy()
    seen, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), camera.K.numpy(), np.array(lens))
    np.savetxt(tmp_path / 'pairs.csv', np.c_[pairs.ct_mm, seen[:, 0]], delimiter=',')
    content = camera_content(camera.K, SIZE, distortion=lens)
    (tmp_path / 'camera.yaml').write_text(yaml.safe_dump(content))
    beam = BeamOptions((tmp_path / 'camera.yaml',))
    start = StartOptions(landmarks_path=tmp_path / 'pairs.csv').start(
        read_xrays((files / 'xray.png',), beam, 0), attenuation_of(body())
    )
    assert (start.camera_from_ct - files.poses[0]).abs().max() < 0.5


@pytest.mark.parametrize('flip', ['horizontal', 'vertical', 'both'])
def test_pixels_are_those_of_the_file_if_the_picture_is_mirrored(files, tmp_path, flip):
    pairs = read_landmarks(write_pairs(tmp_path / 'pairs.csv', files, noise_px=0))
    seen = pairs.pixels.copy()
    if flip != 'vertical':
        seen[:, 0] = SIZE[1] - 1 - seen[:, 0]
    if flip != 'horizontal':
        seen[:, 1] = SIZE[0] - 1 - seen[:, 1]
    np.savetxt(tmp_path / 'pairs.csv', np.c_[pairs.ct_mm, seen], delimiter=',')
    (xray,) = read_xrays((files / 'xray.png',), BeamOptions((), 1000.0, (2.2, 2.0)), 0)
    start = StartOptions(landmarks_path=tmp_path / 'pairs.csv').start(
        (xray.mirrored(flip),), attenuation_of(body())
    )
    assert (start.camera_from_ct - files.poses[0]).abs().max() < 0.5


def test_landmarks_and_another_start_are_one_too_many(files, tmp_path):
    pairs = write_pairs(tmp_path / 'pairs.csv', files)
    done = files.register(*BEAM, '--landmarks', pairs, '--initial', files / 'near.yaml')
    assert done.exit_code == 2 and 'not both' in done.stderr
