"""sph-reg render: an X-ray out of a CT, with which a registration finds the pose again."""

import json
import shlex

import numpy as np
import pytest
import torch
from cli_files import BEAM, SIZE, attenuation_of, body
from PIL import Image
from typer.testing import CliRunner

from sph_reg_ros.cli import app
from sph_reg_ros.geometry import Camera
from sph_reg_ros.geometry.carm import camera_from_ct_for_angles
from sph_reg_ros.imaging.load import load_xray
from sph_reg_ros.rendering.render import render

VIEW = ['--angles', '30', '10', '--sod', '700']
CAMERA = [*BEAM, '--size', *SIZE]


def rendered(files, output, *options):
    words = ['render', '--ct', files / 'ct.nii.gz', '--output', output, *options]
    return CliRunner().invoke(app, [str(word) for word in words])


def truth(files) -> torch.Tensor:
    return camera_from_ct_for_angles(np.deg2rad(30), np.deg2rad(10), 700.0, files.centre)


def test_what_is_rendered_is_what_the_library_renders(files, tmp_path):
    expected = render(
        attenuation_of(body()), truth(files), Camera.from_geometry(1000, (2.2, 2.0), SIZE).K, SIZE
    )
    for name in ('drr.tif', 'drr.npy', 'drr.png', 'dark.png', 'drr.dcm'):
        inverted = ['--inverted'] if name == 'dark.png' else []
        done = rendered(files, tmp_path / name, *CAMERA, *VIEW, *inverted)
        assert done.exit_code == 0, done.output
    for name in ('drr.tif', 'drr.npy'):
        assert torch.allclose(load_xray(tmp_path / name).pixels, expected, atol=1e-3)
    counts = load_xray(tmp_path / 'drr.png').pixels
    assert torch.allclose(counts, 60000 * torch.exp(-expected), atol=60)
    assert torch.equal(load_xray(tmp_path / 'drr.dcm').pixels, counts)
    assert (load_xray(tmp_path / 'dark.png').pixels + counts - 60000).abs().max() <= 1
    with Image.open(tmp_path / 'drr.png') as picture:
        assert picture.mode == 'I;16'


def test_a_dicom_file_brings_camera_and_angles_and_the_printed_command_registers_it(
    files, tmp_path
):
    options = [*CAMERA, *VIEW, '--principal-point', 40, 41]
    done = rendered(files, tmp_path / 'drr.dcm', *options)
    xray = load_xray(tmp_path / 'drr.dcm')
    camera = Camera.from_geometry(1000, (2.2, 2.0), SIZE, (40, 41))
    assert torch.allclose(xray.camera.K, camera.K, atol=1e-6)
    assert torch.allclose(xray.camera_from_ct[:3, :3], truth(files)[:3, :3], atol=1e-7)
    command = next(line for line in done.output.splitlines() if line.startswith('register by'))
    words = shlex.split(command.removeprefix('register by'))
    # Started elsewhere, it comes back.
    x, y, z = map(float, words[-3:])
    moved = ['--isocentre', str(x + 6), str(y - 6), str(z + 5)]
    result = CliRunner().invoke(app, [*words[1:-4], *moved, '--json'])
    assert result.exit_code == 0, result.output
    found = torch.tensor(json.loads(result.stdout)['camera_from_ct'][0], dtype=torch.float64)
    assert (found - truth(files)).abs().max() < 0.5


@pytest.mark.parametrize(
    'name, inverted', [('drr.png', False), ('drr.png', True), ('drr.tif', False)]
)
def test_the_printed_command_names_camera_start_and_meaning_of_other_files(
    files, tmp_path, name, inverted
):
    options = [*CAMERA, '--pose', files / 'near.yaml', *(['--inverted'] if inverted else [])]
    done = rendered(files, tmp_path / name, *options)
    command = done.output.splitlines()[-1].removeprefix('register by')
    # A negative of few grey levels tells the depth less well.
    given = [*shlex.split(command)[1:], '--max-tre-mm', '5', '--json']
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 0, result.output
    found = torch.tensor(json.loads(result.stdout)['camera_from_ct'][0], dtype=torch.float64)
    # A negative does not say what its open beam was, which costs some depth.
    assert (found - files.near()).abs().max() < (1.5 if inverted else 0.5)


def test_without_a_camera_and_a_view_a_usual_c_arm_looks_from_the_front_and_says_so(
    files, tmp_path
):
    done = rendered(files, tmp_path / 'new' / 'drr.dcm', '--size', 48, 56)
    assert done.exit_code == 0, done.output
    assert done.output.count('assumed ') == 3 and 'LAO 0 / CRAN 0' in done.output
    assert load_xray(tmp_path / 'new' / 'drr.dcm').camera.size == (48, 56)


def test_a_principal_point_alone_is_that_of_the_usual_c_arm(files, tmp_path):
    options = ['--principal-point', 30, 20, '--size', 48, 56, '--energy', 70, '--assume-lps']
    done = rendered(files, tmp_path / 'drr.png', *options)
    assert done.exit_code == 0, done.output
    command = done.output.split('register by')[1]
    for words in ('--principal-point 30 20', '--energy 70', '--assume-lps'):
        assert words in command


@pytest.mark.parametrize(
    'name, options, text',
    [
        ('drr.jpg', [], 'must end in .png, .dcm, .tif, .tiff, .npy'),
        ('drr.tif', ['--inverted'], '--inverted'),
        ('drr.png', ['--sdd', 1000], 'needed together'),
        ('drr.png', [*CAMERA, '--isocentre', 0, 0, 9000], 'rays meet the CT'),
    ],
)
def test_what_cannot_be_rendered_is_an_error_and_no_file(files, tmp_path, name, options, text):
    done = rendered(files, tmp_path / name, *options)
    assert done.exit_code == 2 and text in done.stderr
    assert not (tmp_path / name).exists()


def test_a_camera_file_serves_but_for_dicom_which_needs_the_distances(files, tmp_path):
    camera = ['--camera', files / 'alone.yaml', '--pose', files / 'near.yaml']
    assert rendered(files, tmp_path / 'drr.png', *camera).exit_code == 0
    done = rendered(files, tmp_path / 'drr.dcm', *camera)
    assert done.exit_code == 2 and 'give --sdd' in done.stderr
    done = rendered(files, tmp_path / 'drr.png', *camera, '--size', 9, 9)
    assert done.exit_code == 2 and 'not both' in done.stderr
