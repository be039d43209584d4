"""sph-reg register: files in, result and overlay out."""

import json
import math

import numpy as np
import pydicom
import pytest
import tifffile
import torch
from cli_files import (
    BEAM,
    FIXED_FROM_CT,
    PITCH_MM,
    SIZE,
    SOD_MM,
    START,
    attenuation_of,
    body,
    run,
    write_pose,
)
from ct_files import PATIENT_ID, Phantom, write_volume
from PIL import Image
from xray_files import write_xa

from sph_reg_ros.geometry.carm import camera_from_ct_for_angles
from sph_reg_ros.imaging.load import load_xray
from sph_reg_ros.rendering.render import render


@pytest.mark.parametrize('ct', ['ct.nii.gz', 'dicom'])
def test_a_png_is_registered_from_rough_angles_and_the_result_names_its_conventions(
    files, tmp_path, ct
):
    done = files.register(*BEAM, *START, '--output', tmp_path, ct=ct)
    assert done.exit_code in (0, 1), done.output
    result = json.loads((tmp_path / 'registration.json').read_text())
    in_plane_mm, rotation_deg = files.error_of(result['camera_from_ct'][0])
    assert in_plane_mm < 0.5 and rotation_deg < 0.5
    assert result['verdict'] in done.output
    assert (done.exit_code == 0) == (result['verdict'] == 'VERIFIED')
    assert 'LPS' in result['conventions']['ct_frame']
    assert result['versions']['sph_reg_ros']
    with Image.open(tmp_path / 'overlay.png') as picture:
        assert picture.size == SIZE[::-1]
    names = {path.name for path in tmp_path.iterdir() if path.suffix != '.tfm'}
    assert names == {'overlay.png', 'registration.json'}
    assert 'assumed      the isocentre is the middle of the CT' in done.output
    assert 'assumed      the central ray meets the middle of the image' in done.output
    assert 'assumed      pixels are detector counts' in done.output
    assert 'assumed      the camera is calibrated (focal length within 0.1 %)' in done.output
    assert '(--angles)' in done.output


def test_json_is_all_that_is_printed_and_holds_every_figure(files):
    options = ['--camera', files / 'alone.yaml', '--initial', files / 'near.yaml']
    done = files.register(*options, '--json')
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert done.stderr == ''
    in_plane_mm, rotation_deg = files.error_of(result['camera_from_ct'][0])
    assert in_plane_mm < 0.5 and rotation_deg < 0.5
    assert result['fixed_from_ct'] is None
    assert (result['termination'], result['verdict']) == ('CONVERGED', 'VERIFIED')
    assert result['similarity_before'] < result['similarity_after'] <= 1
    assert np.shape(result['covariance']) == (6, 6)
    assert result['iterations'] > 0 and result['seconds'] > 0
    assert result['warnings'] and result['checks']
    assert result['method'] == 'image' and result['similarity'] and result['backend']


@pytest.mark.parametrize('ct', ['stored.nii.gz', 'labels.nrrd'])
def test_a_ct_that_is_not_in_hounsfield_units_is_said_before_anything_else(files, tmp_path, ct):
    phantom = body()
    values = phantom.hounsfield + 1024 if ct.startswith('stored') else phantom.hounsfield > 100
    path = write_volume(tmp_path / ct, Phantom(values.astype(np.int16), phantom.ct_from_index))
    options = ['--ct', path, '--xray', files / 'xray.png', '--camera', files / 'alone.yaml']
    done = run(*options, '--initial', files / 'near.yaml')
    shown = done.output.splitlines()
    doubts = [n for n, line in enumerate(shown) if 'no air or no tissue: are these HU?' in line]
    assert doubts, done.output
    if done.exit_code == 1:
        assert shown[1].startswith('reason') and 'Hounsfield' in shown[1]
        assert shown[2].startswith('advice') and 'camera' not in shown[2]
        assert doubts == [3]
    as_json = run(*options, '--initial', files / 'near.yaml', '--json')
    if as_json.exit_code != 2:
        assert 'are these HU?' in json.loads(as_json.stdout)['warnings'][0]


def test_a_ct_of_unknown_orientation_is_taken_only_if_it_is_said_to_be_lps(files, tmp_path):
    header = (
        'NRRD0004', 'type: short', 'dimension: 3', 'space dimension: 3', 'sizes: 40 36 24',
        'space directions: (2.5,0,0) (0,2.8,0) (0,0,4)', 'space origin: (-40,25,300)',
        'endian: little', 'encoding: raw', '', '',
    )  # fmt: skip
    path = tmp_path / 'ct.nrrd'
    path.write_bytes('\n'.join(header).encode() + body().hounsfield.astype('<i2').tobytes())
    options = ['--ct', path, '--xray', files / 'xray.png', '--camera', files / 'alone.yaml']
    refused = run(*options, '--initial', files / 'near.yaml')
    assert refused.exit_code == 2 and '--assume-lps' in refused.output
    done = run(*options, '--initial', files / 'near.yaml', '--assume-lps', '--json')
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert files.error_of(result['camera_from_ct'][0])[0] < 0.5
    assert 'axes were taken as left, back, head' in result['warnings'][0]


def test_two_views_give_one_pose_in_the_frame_that_they_share(files, tmp_path):
    write_pose(tmp_path / 'start.yaml', camera_from_ct=files.near())
    options = [*files.views, '--initial', tmp_path / 'start.yaml', '--output', tmp_path, '--json']
    done = run('--ct', files / 'ct.nii.gz', *options)
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    for view in (0, 1):
        in_plane_mm, rotation_deg = files.error_of(result['camera_from_ct'][view], view)
        assert in_plane_mm < 0.3 and rotation_deg < 0.3
    assert np.allclose(result['fixed_from_ct'], FIXED_FROM_CT, atol=0.5)
    assert {'overlay_1.png', 'overlay_2.png'} <= {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize('views', [1, 2])
def test_a_result_can_be_the_next_start(files, tmp_path, views):
    options = ['--ct', files / 'ct.nii.gz', *files.views[: 4 * views]]
    first = run(*options, '--initial', files / 'near.yaml', '--output', tmp_path)
    assert first.exit_code == 0, first.output
    again = run(*options, '--initial-pose', tmp_path / 'registration.json', '--json')
    assert again.exit_code == 0, again.output
    before, after = (
        json.loads((tmp_path / 'registration.json').read_text()),
        json.loads(again.stdout),
    )
    start = np.array(after['initial_camera_from_ct'])
    assert np.allclose(start, before['camera_from_ct'][0], atol=1e-6)
    assert after['similarity_before'] > before['similarity_before']


def test_a_start_may_be_given_in_the_fixed_frame(files, tmp_path):
    write_pose(tmp_path / 'start.yaml', fixed_from_ct=FIXED_FROM_CT)
    start = ['--initial', tmp_path / 'start.yaml', '--json']
    done = files.register('--camera', files / 'camera.yaml', *start)
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert np.allclose(result['initial_camera_from_ct'], files.poses[0])
    assert np.allclose(result['fixed_from_ct'], FIXED_FROM_CT, atol=5)
    refused = files.register('--camera', files / 'alone.yaml', *start)
    assert refused.exit_code == 2 and 'fixed_from_camera' in refused.stderr


def test_the_same_pixels_give_the_same_pose_in_every_format(files, tmp_path):
    with Image.open(files / 'xray.png') as image:
        pixels = np.array(image)
    np.save(tmp_path / 'xray.npy', pixels)
    tifffile.imwrite(tmp_path / 'xray.tif', pixels)
    options = ['--camera', files / 'alone.yaml', '--initial', files / 'near.yaml', '--json']
    poses = [
        json.loads(files.register(*options, xray=path).stdout)['camera_from_ct']
        for path in ('xray.png', tmp_path / 'xray.npy', tmp_path / 'xray.tif')
    ]
    assert poses[0] == poses[1] == poses[2]


def test_eight_bits_and_line_integrals_are_enough(files, tmp_path):
    pixels = np.load(files / 'side.npy')
    Image.fromarray((pixels / 256).round().astype(np.uint8)).save(tmp_path / 'small.png')
    np.save(tmp_path / 'integrals.npy', -np.log(pixels / 50000.0))
    write_pose(tmp_path / 'start.yaml', fixed_from_ct=FIXED_FROM_CT)
    options = ['--camera', files / 'side.yaml', '--initial', tmp_path / 'start.yaml', '--json']
    for name, more in (('small.png', ()), ('integrals.npy', ('--intensity', 'line_integral'))):
        done = files.register(*options, *more, xray=tmp_path / name)
        assert done.exit_code == 0, done.output
        in_plane_mm, _ = files.error_of(json.loads(done.stdout)['camera_from_ct'][0], view=1)
        assert in_plane_mm < 0.5


def test_fractions_without_a_statement_of_what_they_are_bring_a_warning(files, tmp_path):
    np.save(tmp_path / 'part.npy', np.load(files / 'side.npy') / 50000)
    write_pose(tmp_path / 'start.yaml', fixed_from_ct=FIXED_FROM_CT)
    options = ['--camera', files / 'side.yaml', '--initial', tmp_path / 'start.yaml', '--json']
    for more, expected in (((), 1), (('--intensity', 'beer_lambert'), 0)):
        done = files.register(*options, *more, xray=tmp_path / 'part.npy')
        warnings = json.loads(done.stdout)['warnings']
        assert sum('part.npy holds fractions' in text for text in warnings) == expected


def test_an_xray_of_something_else_is_no_success(files, tmp_path):
    blocks = np.random.default_rng(0).uniform(5000, 50000, (10, 11))
    np.save(tmp_path / 'other.npy', np.kron(blocks, np.ones((8, 8))).astype(np.uint16))
    options = ['--camera', files / 'alone.yaml', '--initial', files / 'near.yaml', '--json']
    done = files.register(*options, xray=tmp_path / 'other.npy')
    assert done.exit_code == 1, done.output
    assert json.loads(done.stdout)['verdict'] == 'REJECTED'


@pytest.fixture(scope='module')
def angiogram(files):
    """A DICOM XA of the same CT with the isocentre at its centre, of no known patient."""
    volume = attenuation_of(body())
    path = files / 'xray.dcm'
    tags = {'PatientID': '', 'ImagerPixelSpacing': list(PITCH_MM)}
    tags |= {'PositionerPrimaryAngle': 30, 'PositionerSecondaryAngle': 10}
    # The file's own orientation decides the camera; the X-ray is rendered with that camera.
    write_xa(path, np.arange(np.prod(SIZE), dtype=np.uint16).reshape(SIZE), **tags)
    read = load_xray(path)
    pose = camera_from_ct_for_angles(math.radians(30), math.radians(10), SOD_MM, files.centre)
    image = 50000 * torch.exp(-render(volume, pose, read.camera.K, SIZE, backend='torch'))
    write_xa(path, image.numpy().round().astype(np.uint16), **tags)
    return path


def test_a_dicom_angiogram_needs_no_camera_and_starts_at_its_own_angles(files, angiogram):
    shifts = zip(files.centre.tolist(), (10, -7, 10), strict=True)
    moved = [str(mm + shift) for mm, shift in shifts]
    done = files.register('--isocentre', *moved, '--json', xray=angiogram)
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    # The true isocentre lies (4, -3, 5) mm away from that of the first X-ray.
    start, end = (np.array(result[k]) for k in ('initial_camera_from_ct', 'camera_from_ct'))
    true = camera_from_ct_for_angles(math.radians(30), math.radians(10), SOD_MM, files.centre)
    assert np.abs(start - true.numpy())[:2, 3].max() > 4
    assert np.abs(end[0] - true.numpy())[:2, 3].max() < 4
    assert np.abs(end[0] - true.numpy())[:3, :3].max() < 0.01


def test_ct_and_xray_of_different_patients_are_refused_unless_told_otherwise(
    files, angiogram, tmp_path
):
    path = tmp_path / 'other.dcm'
    dataset = pydicom.dcmread(angiogram)
    dataset.PatientID = 'SOMEBODY-ELSE'
    dataset.save_as(path)
    done = files.register('--output', tmp_path / 'out', ct='dicom', xray=path)
    assert done.exit_code == 2 and 'different patient' in done.stderr
    assert 'SOMEBODY' not in done.output and PATIENT_ID not in done.output
    assert not (tmp_path / 'out').exists()
    done = files.register('--other-patient', ct='dicom', xray=path)
    assert done.exit_code in (0, 1), done.output
