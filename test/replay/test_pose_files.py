"""Poses as text."""

import numpy as np
import pytest

from sph_reg_ros.errors import PoseError
from sph_reg_ros.replay.pose_files import COLUMNS, csv_text, read_tum, tum_text
from sph_reg_ros.replay.record import ImageRow

STAMP_NS = 1_700_000_000_123_456_789
POSE = np.array([[0.0, -1, 0, 10], [1, 0, 0, -20], [0, 0, 1, 700], [0, 0, 0, 1]])


def row(verdict='VERIFIED', pose=POSE) -> ImageRow:
    matrix = None if pose is None else pose.tolist()
    return ImageRow(1, STAMP_NS, 'imager', verdict, camera_from_ct=matrix)


def test_tum_keeps_every_nanosecond_and_the_pose(tmp_path):
    (tmp_path / 'poses.tum').write_text(tum_text([row()]))
    poses = read_tum(tmp_path / 'poses.tum')
    assert poses.stamps_ns == (STAMP_NS,)
    np.testing.assert_allclose(poses.matrices[0], POSE, atol=1e-5)


def test_tum_holds_nothing_that_may_not_be_used():
    text = tum_text([row('UNVERIFIED'), row('REJECTED', None)])
    assert [line for line in text.splitlines() if not line.startswith('#')] == []


def test_csv_has_a_line_an_image_and_empty_fields_for_what_is_not_known():
    lines = csv_text([row(), row('REJECTED', None)]).splitlines()
    assert lines[0].split(',') == list(COLUMNS) and len(lines) == 3
    assert '0.01,-0.02,0.7' in lines[1]
    assert lines[2].startswith(f'1,{STAMP_NS},imager,REJECTED,POSE,,,,,')
    assert 'nan' not in lines[2]


def test_the_pose_closest_in_time_is_found_and_none_that_is_far(tmp_path):
    lines = [f'{seconds}.0 {seconds} 0 0 0 0 0 1' for seconds in (3, 1, 2)]
    (tmp_path / 'poses.tum').write_text('\n'.join(lines))
    poses = read_tum(tmp_path / 'poses.tum')
    matrix, frame = poses.at(2_100_000_000, 200_000_000)
    assert matrix[0, 3] == 2000 and frame == ''
    assert poses.at(2_100_000_000, 50_000_000) is None
    assert poses.at(9_000_000_000, 50_000_000) is None


@pytest.mark.parametrize(
    'text', ['', '1 2 3', '1 2 3 4 5 6 7 8', '1 0 0 nan 0 0 0 1', 'x 0 0 0 0 0 0 1']
)
def test_a_file_without_poses_is_refused(tmp_path, text):
    (tmp_path / 'poses.tum').write_text(text)
    with pytest.raises(PoseError, match=r'poses\.tum'):
        read_tum(tmp_path / 'poses.tum')


def test_an_absent_file_is_refused(tmp_path):
    with pytest.raises(PoseError):
        read_tum(tmp_path / 'absent.tum')
