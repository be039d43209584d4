"""Bad input to sph-reg register: one typed message that names the figure, and never a pose."""

import json
from contextlib import nullcontext

import numpy as np
import pytest
import tifffile
import torch
import yaml
from cli_files import (
    BEAM,
    SIZE,
    START,
    attenuation_of,
    body,
    camera_content,
    run,
    write_pose,
)
from ct_files import PATIENT_ID, PATIENT_NAME, Phantom, write_dicom, write_volume
from xray_files import gradient, write_xa

from sph_reg_ros.cli.start import StartOptions
from sph_reg_ros.errors import PoseError
from sph_reg_ros.geometry import Camera, se3

K = [[500.0, 0, 43.5], [0, 450.0, 39.5], [0, 0, 1]]


def refuse(done, code: str, *figures: str) -> None:
    """Check that a run ended in this error, and that nothing else was said."""
    assert done.exit_code == 2, done.output
    said = json.loads(done.stdout)
    assert set(said) == {'error', 'message'} and said['error'] == code
    for figure in figures:
        assert figure in said['message'], said['message']
    assert said['message'] in done.stderr and 'Traceback' not in done.output


@pytest.fixture
def register(files, tmp_path):
    """Run with what works, unless replaced; JSON, and a folder that must stay absent."""

    def call(*options, camera=None, initial=None, **paths):
        camera, initial = camera or files / 'alone.yaml', initial or files / 'near.yaml'
        given = ['--camera', camera, '--initial', initial, *options]
        done = files.register(*given, '--json', '--output', tmp_path / 'out', **paths)
        assert not (tmp_path / 'out').exists()
        return done

    return call


def camera_file(folder, **replaced):
    path = folder / 'camera.yaml'
    path.write_text(yaml.safe_dump({**camera_content(K), **replaced}))
    return path


@pytest.mark.parametrize('kind', ['png', 'npy', 'dicom'])
def test_an_image_and_a_camera_of_different_size_are_refused_with_both_sizes(
    register, files, tmp_path, kind
):
    camera = camera_file(tmp_path, image_width=100, image_height=90)
    xray = {'png': files / 'xray.png', 'npy': files / 'side.npy'}.get(kind)
    if xray is None:
        xray = write_xa(tmp_path / 'xray.dcm', gradient(SIZE))
    done = register(camera=camera, xray=xray)
    refuse(done, 'CAMERA_IMAGE_MISMATCH', '(80, 88)', '(90, 100)', xray.name)


@pytest.mark.parametrize(
    'matrix', [np.zeros((3, 3)), np.diag([0.0, 450, 1]), [[1.0, 2, 0], [2, 4, 0], [0, 0, 1]]]
)
def test_a_camera_matrix_that_cannot_be_inverted_is_refused_with_its_determinant(
    register, tmp_path, matrix
):
    data = {'rows': 3, 'cols': 3, 'data': np.asarray(matrix).flatten().tolist()}
    done = register(camera=camera_file(tmp_path, camera_matrix=data))
    refuse(done, 'CAMERA_UNCALIBRATED', 'determinant', 'px')


@pytest.mark.parametrize(
    ('model', 'coefficients', 'words'),
    [
        ('mei', [0.1] * 4, ("'mei'", 'plumb_bob, rational_polynomial, equidistant')),
        ('plumb_bob', [0.1] * 8, ('4 or 5 coefficients, not 8',)),
        ('plumb_bob', [-900.0, 0, 0, 0, 0], ('folds the image', '-900')),
    ],
)
def test_a_distortion_that_cannot_be_undone_is_refused(
    register, tmp_path, model, coefficients, words
):
    fields = {'distortion_model': model, 'distortion_coefficients': {'data': coefficients}}
    done = register(camera=camera_file(tmp_path, **fields))
    refuse(done, 'CAMERA_INVALID', *words)


BROKEN_CAMERAS = {
    'absent': (None, 'CAMERA_MISSING', 'cannot be read'),
    'empty': ('', 'CAMERA_INVALID', 'no keys'),
    'list': ('- 1', 'CAMERA_INVALID', 'no keys'),
    'no yaml': ('a: [1, 2', 'CAMERA_INVALID', 'neither YAML nor JSON'),
    'object': ('!!python/object/apply:os.getcwd []', 'CAMERA_INVALID', 'neither YAML nor JSON'),
    'binary': (b'\x80\xff\x00', 'CAMERA_INVALID', 'no camera file'),
    'large': ('a' * 1_000_001, 'CAMERA_INVALID', '1000001 bytes'),
    'no matrix': ({'camera_matrix': None}, 'CAMERA_INVALID', 'camera_matrix'),
    'short': ({'camera_matrix': [1.0] * 8}, 'CAMERA_INVALID', '8 numbers instead of 3 x 3'),
    'words': ({'camera_matrix': ['a'] * 9}, 'CAMERA_INVALID', "'a'"),
    'NaN': ({'camera_matrix': [float('nan')] * 9}, 'CAMERA_INVALID', 'nan is not finite'),
    'no pixels': ({'image_width': 0}, 'CAMERA_INVALID', 'image_width'),
    'half a pixel': ({'image_height': 80.5}, 'CAMERA_INVALID', '80.5'),
    'distorted text': ({'distortion_coefficients': 'x'}, 'CAMERA_INVALID', 'distortion'),
    'place': ({'fixed_from_camera': [1.0] * 12}, 'CAMERA_INVALID', '12 numbers instead of 4 x 4'),
    'mirror': (
        {'fixed_from_camera': np.diag([-1.0, 1, 1, 1]).tolist()},
        'POSE_INVALID',
        'fixed_from_camera of camera.yaml is not a rotation',
    ),
}


@pytest.mark.parametrize('fault', BROKEN_CAMERAS)
def test_a_broken_camera_file_is_refused_and_says_where(register, tmp_path, fault):
    content, code, message = BROKEN_CAMERAS[fault]
    path = tmp_path / 'camera.yaml'
    if isinstance(content, dict):
        camera_file(tmp_path, **content)
    elif content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    refuse(register(camera=path), code, message, 'camera.yaml')


@pytest.mark.parametrize('suffix', ['.npy', '.tif'])
def test_nan_pixels_are_refused_with_their_number(register, tmp_path, suffix):
    pixels = np.linspace(1, 1000, SIZE[0] * SIZE[1], dtype=np.float32).reshape(SIZE)
    pixels[3, 4:7] = np.nan
    path = tmp_path / f'bad{suffix}'
    (np.save if suffix == '.npy' else tifffile.imwrite)(path, pixels)
    refuse(register(xray=path), 'IMAGE_CONTENT', '3 pixels are NaN', path.name)


@pytest.mark.parametrize('value', [0, 1234, 65535])
def test_a_constant_image_is_refused_with_its_value(register, tmp_path, value):
    np.save(tmp_path / 'flat.npy', np.full(SIZE, value, np.uint16))
    done = register(xray=tmp_path / 'flat.npy')
    refuse(done, 'IMAGE_CONTENT', f'constant ({value} everywhere)')


@pytest.mark.parametrize('kind', ['volume', 'dicom'])
def test_a_ct_with_one_slice_is_refused_with_its_number_of_slices(register, tmp_path, kind):
    whole = body()
    single = Phantom(whole.hounsfield[:1], whole.ct_from_index)
    if kind == 'dicom':
        write_dicom(tmp_path / 'ct', single)
        done = register(ct=tmp_path / 'ct')
        refuse(done, 'CT_TOO_FEW_SLICES', '1 slice')
    else:
        write_volume(tmp_path / 'ct.nii.gz', single)
        done = register(ct=tmp_path / 'ct.nii.gz')
        refuse(done, 'CT_TOO_FEW_SLICES', '40 x 36 x 1 voxels')


def moved(files, *mm: float) -> torch.Tensor:
    shift = se3.from_parts(torch.eye(3, dtype=torch.float64), torch.tensor(mm).double())
    return shift @ files.poses[0]


@pytest.mark.parametrize(
    ('shift', 'figures'),
    [
        ((400.0, 0, 0), ('columns', 'the image has 88 x 80 pixels', 'X-ray 1')),
        ((0, -300.0, 0), ('rows', 'the image has 88 x 80 pixels', 'X-ray 1')),
        ((0, 0, -2000.0), ('mm or more behind the source', 'X-ray 1')),
    ],
)
def test_a_start_with_the_ct_out_of_view_is_refused_with_where_it_is(
    register, files, tmp_path, shift, figures
):
    start = write_pose(tmp_path / 'far.yaml', camera_from_ct=moved(files, *shift))
    refuse(register(initial=start), 'NO_OVERLAP', *figures)


def test_a_second_view_that_does_not_see_the_ct_is_refused_by_its_number(files, tmp_path):
    content = yaml.safe_load((files / 'side.yaml').read_text())
    place = torch.tensor(content['fixed_from_camera'], dtype=torch.float64)
    place[:3, 3] += 500 * place[:3, 0]
    (tmp_path / 'aside.yaml').write_text(
        yaml.safe_dump({**content, 'fixed_from_camera': place.tolist()})
    )
    options = [*files.views[:-1], tmp_path / 'aside.yaml', '--initial', files / 'near.yaml']
    refuse(run('--ct', files / 'ct.nii.gz', *options, '--json'), 'NO_OVERLAP', 'X-ray 2')


@pytest.mark.parametrize(
    'text',
    ['', '[]', '{}', 'camera_from_ct: 1', '{"camera_from_ct": [["a"]]}', '{' * 3000, '[' * 3000],
)
def test_a_broken_pose_file_is_refused(register, tmp_path, text):
    (tmp_path / 'broken.json').write_text(text)
    done = register(initial=tmp_path / 'broken.json')
    refuse(done, 'POSE_INVALID', 'camera_from_ct', 'broken.json')


@pytest.mark.parametrize(
    'pose', [np.diag([-1.0, 1, 1, 1]), np.diag([2.0, 2, 2, 1]), np.ones((4, 4))]
)
def test_a_pose_that_is_not_rigid_is_refused(register, tmp_path, pose):
    start = write_pose(tmp_path / 'start.yaml', camera_from_ct=pose)
    refuse(register(initial=start), 'POSE_INVALID', 'rotation', 'start.yaml')


def test_poses_of_another_number_of_views_are_refused_with_both_numbers(register, tmp_path):
    start = write_pose(tmp_path / 'start.json', camera_from_ct=[np.eye(4)] * 3)
    refuse(register(initial=start), 'POSE_INVALID', '3 views', 'there are 1')


def test_views_without_a_common_frame_are_refused(files):
    one = ['--xray', files / 'xray.png', '--camera', files / 'alone.yaml']
    done = run('--ct', files / 'ct.nii.gz', *one, *one, '--initial', files / 'near.yaml', '--json')
    refuse(done, 'IMAGER_POSE_MISSING', 'fixed_from_camera')


def test_fewer_cameras_than_xrays_are_refused_with_both_numbers(files):
    done = run('--ct', files / 'ct.nii.gz', *files.views[:-2], *START, '--json')
    refuse(done, 'CAMERA_MISSING', '2 X-rays and 1 cameras')


def test_an_unknown_method_is_refused_with_the_choices(register):
    refuse(register('--method', 'magic'), 'CONFIG_INVALID', "'magic'", 'one of spherical, image')


BAD_OPTIONS = {
    'no camera': (START, '--camera FILE, or --sdd MM and --pixel-pitch'),
    'half a camera': ([*START, '--sdd', '1000'], 'needed together'),
    'angles without distance': ([*BEAM, '--angles', '1', '2'], '--sod'),
    'missing pose': ([*BEAM, '--initial-pose', 'absent.json'], 'cannot be read'),
    'two starts': ([*BEAM, *START, '--initial', 'absent.json'], 'not both'),
    'two cameras': ([*BEAM, *START, '--camera', 'absent.yaml'], 'not both'),
    'energy': ([*BEAM, *START, '--energy', '500'], '30 to 150 keV'),
    'intensity': ([*BEAM, *START, '--intensity', 'loud'], 'intensity'),
    'backend': ([*BEAM, *START, '--backend', 'abacus'], 'backend'),
    'similarity': ([*BEAM, *START, '--similarity', 'taste'], 'similarity'),
    'metres': (['--sdd', '1.02', '--pixel-pitch', '1', '1', *START], 'is it in metres?'),
    'isocentre in metres': (
        [*BEAM, *START, '--isocentre', '0.01', '0.07', '0.346'],
        '--isocentre must be in mm',
    ),
    'distance': (['--sdd', '-1', '--pixel-pitch', '1', '1', *START], 'is -1 mm'),
    'frame': ([*BEAM, *START, '--frame', '3'], '3'),
    'absent X-ray': ([*BEAM, *START, '--xray', 'absent.png'], 'absent.png cannot be opened'),
}


@pytest.mark.parametrize('fault', BAD_OPTIONS)
def test_bad_options_are_answered_by_a_message_without_traceback_or_files(files, tmp_path, fault):
    options, message = BAD_OPTIONS[fault]
    done = files.register(*options, '--output', tmp_path / 'bad')
    assert done.exit_code == 2, done.output
    assert message in done.stderr and done.stdout == ''
    assert 'Traceback' not in done.output
    assert not (tmp_path / 'bad').exists()


@pytest.mark.parametrize('point', [(0.01, 0.075, 0.346), (0.0, 0.03, -0.02)])
def test_an_isocentre_in_metres_is_refused_wherever_the_ct_lies(point):
    # Around the origin as well, where both are in the CT.
    phantom = body()
    if point[2] < 0:
        phantom.ct_from_index[:3, 3] = (-50, -20, -65)
    volume = attenuation_of(phantom)
    for isocentre, is_refused in ((point, True), (volume.centre.tolist(), False)):
        options = StartOptions(
            angles_deg=(0.0, 0.0), sod_mm=700.0, isocentre_lps_mm=tuple(isocentre)
        )
        camera = Camera.from_geometry(1000.0, (2.2, 2.0), SIZE)
        with pytest.raises(PoseError, match='in metres') if is_refused else nullcontext():
            options.given(volume, camera)


def test_an_unreadable_ct_is_refused_without_the_patients_name(files, tmp_path):
    write_dicom(tmp_path / 'gap', body(), skip=(7,))
    done = files.register(*BEAM, *START, ct=tmp_path / 'gap')
    assert done.exit_code == 2
    assert 'slice 8 at 328.00 mm' in done.stderr
    for secret in (PATIENT_ID, *PATIENT_NAME.split('^')):
        assert secret not in done.output


def test_a_camera_in_metres_is_refused_by_the_name_of_the_xray_before_the_ct_is_read(
    register, tmp_path
):
    metres = np.diag([0.5, 0.45, 1.0]).flatten().tolist()
    camera = camera_file(tmp_path, camera_matrix={'rows': 3, 'cols': 3, 'data': metres})
    done = register(camera=camera, ct='absent.nii.gz')
    refuse(done, 'CAMERA_INVALID', 'xray.png', 'field of view', 'metres')


def test_a_start_in_metres_is_refused(register, files, tmp_path):
    pose = files.near()
    pose[:3, 3] /= 1000
    done = register(initial=write_pose(tmp_path / 'start.yaml', camera_from_ct=pose))
    refuse(done, 'POSE_INVALID', 'metres')


def test_places_of_cameras_in_metres_are_refused(files, tmp_path):
    for name in ('camera.yaml', 'side.yaml'):
        content = yaml.safe_load((files / name).read_text())
        place = np.array(content['fixed_from_camera'])
        place[:3, 3] /= 1000
        (tmp_path / name).write_text(
            yaml.safe_dump({**content, 'fixed_from_camera': place.tolist()})
        )
    options = [
        *('--xray', files / 'xray.png', '--camera', tmp_path / 'camera.yaml'),
        *('--xray', files / 'side.npy', '--camera', tmp_path / 'side.yaml'),
    ]
    done = run('--ct', files / 'ct.nii.gz', *options, '--initial', files / 'near.yaml', '--json')
    refuse(done, 'POSE_INVALID', 'xray.png', 'metres')


def test_options_complete_a_dicom_xray(files, tmp_path):
    path = write_xa(tmp_path / 'xa.dcm', gradient(SIZE), drop=('DistanceSourceToDetector',))
    options = ('--angles', '1', '2', '--json')
    refuse(files.register(*options, xray=path), 'CAMERA_MISSING', 'source-detector distance')
    # The camera is whole now, and the CT the next obstacle.
    done = files.register(*options, '--sdd', '1000', xray=path, ct='absent.nii.gz')
    refuse(done, 'CT_UNREADABLE', 'absent.nii.gz')
