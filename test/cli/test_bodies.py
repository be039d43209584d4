"""sph-reg register --bodies: what is written and printed of each body."""

import json

import numpy as np
import pytest
import torch
import trimesh
import yaml
from body_files import attenuation, front_pose, registration, write_bodies, write_labels, write_mesh
from cli_files import BEAM, START, run
from PIL import Image

from sph_reg_ros.cli.registration_report import RegistrationReport
from sph_reg_ros.cli.summary import summary_lines
from sph_reg_ros.geometry import Camera, se3
from sph_reg_ros.geometry.carm import camera_from_ct_for_angles
from sph_reg_ros.imaging.load_bodies import load_bodies
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.result import Verdict
from sph_reg_ros.registration.view import View
from sph_reg_ros.rendering.render import render

CAMERA = Camera.from_geometry(1020.0, (1.0, 1.0), (120, 120))


@pytest.fixture
def report(tmp_path):
    write_labels(tmp_path)
    named = {'source': 'labels.nii.gz', 'label': 'vertebrae_L3', 'name': 'L3', 'frame': 'l3'}
    bodies = load_bodies(
        write_bodies(tmp_path, named, {**named, 'name': 'S1', 'frame': '', 'label': 26}),
        attenuation(),
    )
    ct = attenuation()
    view = View(render(ct, front_pose(ct), CAMERA.K, CAMERA.size, backend='torch'), CAMERA)
    request = RegistrationRequest(ct, (view,), front_pose(ct), bodies=bodies)
    result = registration(bodies, front_pose(ct), (Verdict.VERIFIED, Verdict.UNVERIFIED))
    return RegistrationReport(request, result, 'hash', 60.0)


def test_json_and_transforms_have_an_entry_for_each_body(report, tmp_path):
    folder = tmp_path / 'out'
    folder.mkdir()
    (folder / 'body_old_to_imager_REJECTED.tfm').touch()
    report.write(folder)
    names = {path.name for path in folder.iterdir()}
    assert {'body_L3_to_imager.tfm', 'body_S1_to_imager_UNVERIFIED.tfm'} <= names
    assert 'body_old_to_imager_REJECTED.tfm' not in names and 'overlay.png' in names
    content = json.loads((folder / 'registration.json').read_text())
    first, second = content['bodies']
    assert (first['name'], first['frame'], first['verdict']) == ('L3', 'l3', 'VERIFIED')
    assert (second['name'], second['frame'], second['verdict']) == ('S1', None, 'UNVERIFIED')
    assert (first['translation_mm'], second['translation_mm']) == (1.0, 2.0)
    torch.testing.assert_close(
        torch.tensor(second['camera_from_body'][0], dtype=torch.float64),
        report.result.bodies[1].camera_from_body[0],
    )
    assert first['reason'] is None and 'may be wrong' in second['reason']
    assert content['verdict'] == 'VERIFIED' and not report.all_verified


def test_the_summary_says_of_each_body_whether_it_moved_and_why_it_may_not_be_used(report):
    lines = summary_lines(report, ())
    first = next(n for n, line in enumerate(lines) if line.startswith('body         L3: VERIFIED'))
    assert 'moved 1.0 mm and 0.0 deg against the CT, within 1.0 mm in 95 %' in lines[first]
    assert lines[first + 1].startswith('body         S1: UNVERIFIED, moved 2.0 mm')
    assert lines[first + 2].startswith('reason       The pose may be wrong')


def test_a_wrong_list_of_bodies_ends_with_its_error(files, tmp_path):
    path = write_bodies(tmp_path, {'name': 'L3', 'source': 'none.nii.gz'})
    done = files.register(*BEAM, *START, '--bodies', path)
    assert done.exit_code == 2 and "body 'L3': there is no file none.nii.gz" in done.output


def test_an_implant_is_found_without_a_ct(tmp_path):
    parts = [trimesh.creation.box((40, 12, 9)), trimesh.creation.box((9, 11, 60))]
    parts[1].apply_translation((14, 3, 25))
    write_mesh(tmp_path / 'stem.stl', parts[0] + parts[1])
    entry = {'name': 'stem', 'source': 'stem.stl', 'material': 'steel'}
    bodies = write_bodies(tmp_path, entry)
    body = load_bodies(bodies, None)['stem']
    camera = Camera.from_geometry(1000.0, (0.5, 0.5), (256, 256))
    truth = camera_from_ct_for_angles(0.5, 0.2, 700.0, body.volume.centre)
    drr = render(body.volume, truth, camera.K, camera.size).numpy()
    counts = 55000 * np.exp(-drr) + np.random.default_rng(0).normal(0, 100, drr.shape)
    Image.fromarray(counts.clip(0, 65535).astype(np.uint16)).save(tmp_path / 'xray.png')
    twist = torch.tensor([0.03, -0.02, 0.04, 2.0, -2.0, 4.0], dtype=torch.float64)
    start = se3.apply_twist(twist, truth, body.volume.centre)
    (tmp_path / 'start.yaml').write_text(yaml.safe_dump({'camera_from_ct': start.tolist()}))
    options = ['--xray', tmp_path / 'xray.png', '--sdd', 1000, '--pixel-pitch', 0.5, 0.5]
    done = run(*options, '--initial', tmp_path / 'start.yaml', '--bodies', bodies, '--json')
    assert done.exit_code in (0, 1), done.output
    result = json.loads(done.stdout)
    found = torch.tensor(result['bodies'][0]['camera_from_body'][0], dtype=torch.float64)
    before, after = (
        (se3.transform_points(pose, body.volume.centre[None]) - centre).abs()[0]
        for centre in [se3.transform_points(truth, body.volume.centre[None])]
        for pose in (start, found)
    )
    assert before[:2].norm() > 2 and after[:2].norm() < 0.5


def test_something_must_be_registered(files):
    options = ['--camera', files / 'alone.yaml', '--initial', files / 'near.yaml']
    missing = run(*options, '--xray', files / 'xray.png')
    assert missing.exit_code == 2 and 'give --ct, or --bodies' in missing.output
