"""Poses in and out as text and as transforms for 3D Slicer; words about a result."""

import json

import numpy as np
import pytest
import SimpleITK
import torch
from cli_files import BEAM, START, write_pose

from sph_reg_ros.cli.pose_file import plain_numbers, read_pose
from sph_reg_ros.errors import PoseError
from sph_reg_ros.geometry import se3


def test_a_pose_may_be_plain_text_as_numpy_writes_it(files, tmp_path):
    expected = files.near()
    for number, options in enumerate(
        ({}, {'delimiter': ','}, {'header': 'camera_from_ct, mm', 'fmt': '%.12f'})
    ):
        path = tmp_path / f'{number}.txt'
        np.savetxt(path, expected.numpy(), **options)
        read = read_pose(path, None, 1)
        assert torch.allclose(read.camera_from_ct, expected, atol=1e-9)
        assert read.assumptions == (f'{number}.txt is camera_from_ct: CT (LPS) to camera, mm',)


@pytest.mark.parametrize('text', ['1 2 3', '1 0 0 nan ' * 4, '0 ' * 17])
def test_plain_text_with_other_numbers_than_a_pose_is_refused(tmp_path, text):
    (tmp_path / 'start.txt').write_text(text)
    with pytest.raises(PoseError, match=r'start\.txt'):
        read_pose(tmp_path / 'start.txt', None, 1)


def test_words_are_no_plain_numbers():
    assert plain_numbers('camera_from_ct: 1') == [] and plain_numbers('') == []
    assert plain_numbers('1, 2; 3 # four') == [1.0, 2.0, 3.0]


@pytest.mark.parametrize('case', ['inverted', 'metres', 'inverted metres'])
def test_a_pose_the_wrong_way_round_or_in_metres_is_refused_with_what_it_seems_to_be(
    files, tmp_path, case
):
    pose = files.near()
    if 'inverted' in case:
        pose = se3.inverse(pose)
    if 'metres' in case:
        pose = pose.clone()
        pose[:3, 3] /= 1000
    np.savetxt(tmp_path / 'start.txt', pose.numpy())
    done = files.register(*BEAM, '--initial', tmp_path / 'start.txt')
    assert done.exit_code == 2 and 'POSE_INVALID' in done.stderr
    assert 'start.txt must be camera_from_ct' in done.stderr
    assert ('ct_from_camera' in done.stderr) == ('inverted' in case)
    assert ('in metres' in done.stderr) == ('metres' in case)


def test_transforms_for_slicer_move_points_as_their_names_say_and_are_a_start(files, tmp_path):
    start = ['--initial', files / 'near.yaml', '--camera', files / 'alone.yaml']
    done = files.register(*start, '--output', tmp_path)
    assert done.exit_code == 0, done.output
    pose = np.array(json.loads((tmp_path / 'registration.json').read_text())['camera_from_ct'][0])
    point = files.centre.numpy()
    in_imager = (pose @ [*point, 1])[:3]
    # ITK and 3D Slicer resample: their transform leads from where the points go to.
    to_imager = SimpleITK.ReadTransform(str(tmp_path / 'ct_to_imager.tfm'))
    assert to_imager.TransformPoint(in_imager.tolist()) == pytest.approx(point, abs=1e-6)
    to_ct = SimpleITK.ReadTransform(str(tmp_path / 'imager_to_ct.tfm'))
    assert to_ct.TransformPoint(point.tolist()) == pytest.approx(in_imager, abs=1e-6)
    read = read_pose(tmp_path / 'ct_to_imager.tfm', None, 1)
    assert np.allclose(read.camera_from_ct, pose, atol=1e-9)
    other = files.register(*BEAM, '--initial', tmp_path / 'imager_to_ct.tfm')
    assert other.exit_code == 2 and 'has to be inverted' in other.stderr


def test_a_transform_of_a_pose_that_is_not_verified_says_so_by_its_name(files, tmp_path):
    start = ['--initial', files / 'near.yaml', '--camera', files / 'alone.yaml']
    (tmp_path / 'ct_to_imager.tfm').write_text('of an earlier, verified result')
    (tmp_path / 'ct_to_imager_mine.tfm').write_text("somebody's own")
    done = files.register(*start, '--output', tmp_path, '--max-tre-mm', 0.2)
    assert done.exit_code == 1, done.output
    names = {path.name for path in tmp_path.glob('*.tfm')}
    assert names == {
        'ct_to_imager_UNVERIFIED.tfm',
        'imager_to_ct_UNVERIFIED.tfm',
        'ct_to_imager_mine.tfm',
    }


def test_a_result_that_may_not_be_used_is_followed_by_a_reason_and_an_advice(files):
    done = files.register(*BEAM, *START, '--max-tre-mm', 0.2)
    assert done.exit_code == 1
    verdict, reason, advice, *rest = done.output.splitlines()
    assert verdict.startswith('UNVERIFIED')
    assert reason == 'reason       The pose may be wrong by more than max_tre_mm allows.'
    assert advice.startswith('advice       Give a second view')
    checks = [line for line in rest if line.startswith('check')]
    assert 'FAILED' in checks[0] and 'FAILED' not in checks[-1]


def test_a_result_that_may_be_used_needs_no_reason(files):
    done = files.register('--initial', files / 'near.yaml', '--camera', files / 'alone.yaml')
    assert done.exit_code == 0
    assert 'reason ' not in done.output and 'advice ' not in done.output


def test_a_limit_across_the_beam_alone_is_met_with_one_sentence_about_the_depth(files, tmp_path):
    start = ['--initial', files / 'near.yaml', '--camera', files / 'alone.yaml']
    asked = ['--max-tre-across-mm', 3.0, '--calibration', 'unknown', '--principal-point-sd', 0.0]
    done = files.register(*start, *asked, '--output', tmp_path)
    assert done.exit_code == 0, done.output
    only = [line for line in done.output.splitlines() if line.startswith('only')]
    found = json.loads((tmp_path / 'registration.json').read_text())
    assert only == [f'only         {found["reservation"]}']
    assert found['verdict_for'] == 'ACROSS_BEAM'
    # 5 % of the focal length.
    assert found['tre_p95_across_mm'] < 3.0 < 20.0 < found['tre_p95_along_mm']
    assert f'{found["tre_p95_along_mm"]:.1f} mm' in found['reservation']


def test_a_start_in_the_fixed_frame_is_not_taken_for_one_that_is_turned_over(files, tmp_path):
    place = torch.tensor(np.eye(4), dtype=torch.float64)
    place[:3, 3] = 5.0
    fixed_from_ct = place @ files.near()
    start = write_pose(tmp_path / 'start.yaml', fixed_from_ct=fixed_from_ct)
    read = read_pose(start, place, 1)
    assert torch.allclose(read.camera_from_ct, files.near()) and not read.checkable
