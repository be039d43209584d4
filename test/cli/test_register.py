"""sph-reg register: files in, result and overlay out, or one message and nothing written."""

import json
import math

import numpy as np
import pydicom
import pytest
import torch
from ct_files import PATIENT_ID, PATIENT_NAME, Phantom, write_dicom, write_volume
from PIL import Image
from typer.testing import CliRunner
from xray_files import write_xa

from sph_reg_ros.cli import app
from sph_reg_ros.cli.outcome import write_together
from sph_reg_ros.geometry import Camera, se3
from sph_reg_ros.geometry.carm import camera_from_ct_for_angles
from sph_reg_ros.imaging.attenuation import AttenuationVolume, attenuation_from_hounsfield
from sph_reg_ros.imaging.volume import CT
from sph_reg_ros.imaging.xray import load_xray
from sph_reg_ros.rendering.render import render

SDD_MM, SOD_MM = 1000.0, 700.0
PITCH_MM, SIZE = (2.2, 2.0), (80, 88)
BEAM = ['--sdd', '1000', '--pixel-pitch', '2.2', '2.0']
START = ['--angles', '28', '12', '--sod', '700']


def body() -> Phantom:
    """A soft ellipsoid with a few bones, no symmetry, air around it."""
    shape, spacing = (24, 36, 40), np.array([2.5, 2.8, 4.0])
    k, j, i = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing='ij')
    hounsfield = np.where((i / 0.9) ** 2 + (j / 0.8) ** 2 + (k / 0.9) ** 2 < 1, 30, -1000)
    random = np.random.default_rng(5)
    for centre in random.uniform(-0.5, 0.5, (9, 3)):
        radius = random.uniform(0.1, 0.22)
        ball = (i - centre[0]) ** 2 + (j - centre[1]) ** 2 + (k - centre[2]) ** 2 < radius**2
        hounsfield[ball] = 900
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = (-40.0, 25.0, 300.0)
    return Phantom(hounsfield.astype(np.int16), affine)


def attenuation_of(phantom: Phantom) -> AttenuationVolume:
    return attenuation_from_hounsfield(CT(phantom.hounsfield, phantom.ct_from_index, ''))


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """A CT in two formats, its X-ray at 30/10 degrees, and the pose of that X-ray."""
    folder = tmp_path_factory.mktemp('files')
    phantom = body()
    volume = attenuation_of(phantom)
    angles = math.radians(30), math.radians(10)
    pose = camera_from_ct_for_angles(*angles, SOD_MM, volume.centre + torch.tensor([4.0, -3, 5]))
    K = Camera.from_geometry(SDD_MM, PITCH_MM, SIZE).K
    image = 50000 * torch.exp(-render(volume, pose, K, SIZE, backend='torch'))
    Image.fromarray(image.numpy().round().astype(np.uint16)).save(folder / 'xray.png')
    write_volume(folder / 'ct.nii.gz', phantom)
    write_dicom(folder / 'dicom', phantom, uid='1.2.3.4')
    return folder, pose, volume.centre


def run(folder, *options, ct='ct.nii.gz', output='out'):
    command = ['register', '--ct', folder / ct, '--xray', folder / 'xray.png']
    command += ['--output', folder / output, *options]
    return CliRunner().invoke(app, [str(part) for part in command])


def error_of(found: list, pose: torch.Tensor, centre: torch.Tensor) -> tuple[float, float]:
    """In-plane error (mm) of the centre, and rotation error (degrees)."""
    found = torch.tensor(found, dtype=torch.float64)
    shift = se3.transform_points(found, centre[None]) - se3.transform_points(pose, centre[None])
    rotation = se3.log(se3.inverse(pose) @ found)[:3]
    return float(shift[0, :2].norm()), math.degrees(float(rotation.norm()))


@pytest.mark.parametrize('ct', ['ct.nii.gz', 'dicom'])
def test_a_png_is_registered_from_rough_angles_and_the_result_names_its_conventions(files, ct):
    folder, pose, centre = files
    done = run(folder, *BEAM, *START, ct=ct, output=f'out-{ct}')
    assert done.exit_code in (0, 1), done.output
    result = json.loads((folder / f'out-{ct}' / 'registration.json').read_text())
    in_plane_mm, rotation_deg = error_of(result['camera_from_ct'], pose, centre)
    assert in_plane_mm < 0.5 and rotation_deg < 0.5
    assert result['verdict'] in done.output
    assert (done.exit_code == 0) == (result['verdict'] == 'VERIFIED')
    assert 'LPS' in result['conventions']['ct_frame']
    assert np.shape(result['covariance']) == (6, 6) and result['versions']['sph_reg_ros']
    with Image.open(folder / f'out-{ct}' / 'overlay.png') as picture:
        assert picture.size == SIZE[::-1]
    assert sorted(p.name for p in (folder / f'out-{ct}').iterdir()) == [
        'overlay.png',
        'registration.json',
    ]


def test_a_result_can_be_the_next_start(files):
    folder, pose, _ = files
    (folder / 'start.json').write_text(json.dumps({'camera_from_ct': pose.tolist()}))
    done = run(folder, *BEAM, '--initial-pose', folder / 'start.json', output='first')
    assert done.exit_code == 0, done.output
    again = run(folder, *BEAM, '--initial-pose', folder / 'first/registration.json', output='next')
    assert again.exit_code == 0, again.output
    result = json.loads((folder / 'next/registration.json').read_text())
    assert result['similarity']['before'] > 0.99


@pytest.fixture(scope='module')
def angiogram(files):
    """A DICOM XA of the same CT with the isocentre at its centre, of no known patient."""
    folder, _, centre = files
    volume = attenuation_of(body())
    path = folder / 'xray.dcm'
    tags = {'PatientID': '', 'ImagerPixelSpacing': list(PITCH_MM)}
    tags |= {'PositionerPrimaryAngle': 30, 'PositionerSecondaryAngle': 10}
    # The file's own orientation decides the camera; the X-ray is rendered with that camera.
    write_xa(path, np.arange(np.prod(SIZE), dtype=np.uint16).reshape(SIZE), **tags)
    read = load_xray(path)
    pose = camera_from_ct_for_angles(math.radians(30), math.radians(10), SOD_MM, centre)
    image = 50000 * torch.exp(-render(volume, pose, read.camera.K, SIZE, backend='torch'))
    write_xa(path, image.numpy().round().astype(np.uint16), **tags)
    return path, pose


def test_a_dicom_angiogram_needs_no_camera_and_starts_at_its_own_angles(files, angiogram):
    folder, _, centre = files
    path, pose = angiogram
    moved = [str(float(mm) + shift) for mm, shift in zip(centre, (6, -4, 5), strict=True)]
    done = run(folder, '--xray', path, '--isocentre', *moved, output='xa')
    assert done.exit_code == 0, done.output
    result = json.loads((folder / 'xa' / 'registration.json').read_text())
    assert error_of(result['initial_camera_from_ct'], pose, centre)[0] > 2
    in_plane_mm, rotation_deg = error_of(result['camera_from_ct'], pose, centre)
    assert in_plane_mm < 0.5 and rotation_deg < 0.5


def test_ct_and_xray_of_different_patients_are_refused_unless_told_otherwise(files, angiogram):
    folder, path = files[0], files[0] / 'other.dcm'
    dataset = pydicom.dcmread(angiogram[0])
    dataset.PatientID = 'SOMEBODY-ELSE'
    dataset.save_as(path)
    done = run(folder, '--xray', path, ct='dicom', output='other')
    assert done.exit_code == 2 and 'different patient' in done.stderr
    assert 'SOMEBODY' not in done.output and PATIENT_ID not in done.output
    assert not (folder / 'other').exists()
    done = run(folder, '--xray', path, '--other-patient', ct='dicom', output='other')
    assert done.exit_code in (0, 1), done.output


BAD_OPTIONS = {
    'no camera': (START, '--sdd MM and --pixel-pitch'),
    'half a camera': ([*START, '--sdd', '1000'], 'needed together'),
    'no start': (BEAM, '--initial-pose FILE'),
    'angles without distance': ([*BEAM, '--angles', '1', '2'], '--sod'),
    'missing pose': ([*BEAM, '--initial-pose', 'absent.json'], 'cannot be read'),
    'energy': ([*BEAM, *START, '--energy', '500'], '30 to 150 keV'),
    'intensity': ([*BEAM, *START, '--intensity', 'loud'], 'intensity'),
    'backend': ([*BEAM, *START, '--backend', 'abacus'], 'backend'),
    'distance': (['--sdd', '-1', '--pixel-pitch', '1', '1', *START], 'positive'),
    'frame': ([*BEAM, *START, '--frame', '3'], '3'),
}


@pytest.mark.parametrize('fault', BAD_OPTIONS)
def test_bad_options_are_answered_by_a_message_without_traceback_or_files(files, fault):
    options, message = BAD_OPTIONS[fault]
    done = run(files[0], *options, output='bad')
    assert done.exit_code == 2, done.output
    assert message in done.stderr
    assert 'Traceback' not in done.output
    assert not (files[0] / 'bad').exists()


@pytest.mark.parametrize(
    'text', ['', '[]', '{}', '{"camera_from_ct": 1}', '{"camera_from_ct": [["a"]]}', '{' * 3000]
)
def test_a_broken_pose_file_is_refused(files, text):
    (files[0] / 'broken.json').write_text(text)
    done = run(files[0], *BEAM, '--initial-pose', files[0] / 'broken.json', output='bad')
    assert done.exit_code == 2
    assert 'camera_from_ct' in done.stderr and 'Traceback' not in done.output


def test_a_mirroring_pose_is_refused(files):
    (files[0] / 'mirror.json').write_text(
        json.dumps({'camera_from_ct': np.diag([-1.0, 1, 1, 1]).tolist()})
    )
    done = run(files[0], *BEAM, '--initial-pose', files[0] / 'mirror.json', output='bad')
    assert done.exit_code == 2 and 'rotation' in done.stderr


def test_an_unreadable_ct_is_refused_without_the_patients_name(files):
    folder = files[0]
    phantom = body()
    write_dicom(folder / 'gap', phantom, skip=(7,))
    done = run(folder, *BEAM, *START, ct='gap', output='bad')
    assert done.exit_code == 2
    assert 'slice 8 at 328.00 mm' in done.stderr
    for secret in (PATIENT_ID, *PATIENT_NAME.split('^')):
        assert secret not in done.output


def test_files_are_written_all_or_none(tmp_path):
    (tmp_path / 'taken').mkdir()
    (tmp_path / 'taken' / 'inside').touch()
    with pytest.raises(OSError):
        write_together({tmp_path / 'absent' / 'a': b'1', tmp_path / 'b': b'2'})
    with pytest.raises(OSError):
        write_together({tmp_path / 'taken': b'1', tmp_path / 'b': b'2'})
    assert [path.name for path in tmp_path.iterdir()] == ['taken']
