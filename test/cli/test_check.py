"""sph-reg check and ct-info."""

import sys

import pytest
from ct_files import PATIENT_ID, PATIENT_NAME, numbered_phantom, write_dicom, write_volume
from typer.testing import CliRunner

from sph_reg_ros import __version__
from sph_reg_ros.cli import app, check, ros_check


def run(*command):
    return CliRunner().invoke(app, [str(part) for part in command])


@pytest.fixture
def without_ros(monkeypatch):
    monkeypatch.setattr(ros_check, 'run_probe', lambda: {'rclpy': 'absent'})


def test_check_shows_versions_device_ros_and_the_ct_on_one_screen(tmp_path, without_ros):
    path = write_volume(tmp_path / 'ct.nrrd', numbered_phantom())
    done = run('check', '--ct', path)
    assert done.exit_code == 0, done.output
    for text in (__version__, 'torch', 'CPU', 'numba compiles', 'not installed'):
        assert text in done.output
    assert '7 x 6 x 5 voxels, 0.7 x 0.9 x 2.5 mm, LPS, -100 to 109 HU' in done.output
    assert 'are these HU?' in done.output
    assert len(done.output.splitlines()) <= 25


def test_check_fails_if_the_ct_is_unreadable(tmp_path, without_ros):
    folder = write_dicom(tmp_path, numbered_phantom(), skip=(2,))
    done = run('check', '--ct', folder)
    assert done.exit_code == 1
    assert 'FAIL' in done.output and 'CT_GEOMETRY' in done.output
    assert PATIENT_NAME not in done.output and PATIENT_ID not in done.output


def test_check_fails_if_a_required_package_is_missing(tmp_path, monkeypatch, without_ros):
    monkeypatch.setattr(check, 'REQUIRED', ('no-such-package',))
    done = run('check', '--ct', write_volume(tmp_path / 'ct.mha', numbered_phantom()))
    assert done.exit_code == 1
    assert 'pip install no-such-package' in done.output


FOUND = dict.fromkeys((*ros_check.MESSAGES, 'rclpy', 'tf2_ros'), 'ok') | {'rmw': 'rmw_test'}


@pytest.mark.parametrize(
    'change, is_broken, text',
    [
        ({}, False, 'rmw_test'),
        ({'tf2_ros': 'absent'}, False, 'own publisher'),
        ({'sph_reg_ros.msg': 'absent'}, False, 'not built: sph_reg_ros.msg'),
        ({'tf2_msgs.msg': 'error: no symbol'}, True, 'no symbol'),
        ({'rclpy': 'error: librcl.so'}, True, 'librcl.so'),
        ({'rmw': 'error: no middleware'}, True, 'no middleware'),
        ({'rclpy': 'absent'}, False, 'not installed'),
    ],
)
def test_ros_is_optional_but_must_not_be_broken(monkeypatch, change, is_broken, text):
    monkeypatch.setattr(ros_check, 'run_probe', lambda: FOUND | change)
    lines = ros_check.ros_lines()
    assert any(line.is_broken for line in lines) == is_broken
    assert any(text in str(line) for line in lines)


def test_the_probe_answers_with_or_without_ros():
    found = ros_check.run_probe()
    assert 'probe' not in found
    assert found['rclpy'] in ('ok', 'absent') or found['rclpy'].startswith('error')


def test_a_probe_that_dies_is_reported_and_not_raised(monkeypatch):
    monkeypatch.setattr(ros_check.sys, 'executable', '/nonexistent/python')
    assert any(line.is_broken for line in ros_check.ros_lines())
    monkeypatch.undo()
    assert sys.executable != '/nonexistent/python'


def test_a_fast_dds_profile_that_does_not_exist_is_broken(tmp_path):
    (tmp_path / 'profile.xml').touch()
    variable = ros_check.PROFILE_VARIABLES[0]
    assert ros_check.profile_line({variable: str(tmp_path / 'absent.xml')}).is_broken
    assert 'profile.xml' in ros_check.profile_line({variable: str(tmp_path / 'profile.xml')}).text
    assert 'lost' in ros_check.profile_line({}).text


def test_ct_info_prints_the_geometry_in_lps(tmp_path):
    done = run('ct-info', write_volume(tmp_path / 'ct.mha', numbered_phantom()))
    assert done.exit_code == 0
    assert '0.7 x 0.9 x 2.5 mm' in done.output
    assert '-29.40 14.50 -2.50 mm in LPS' in done.output
    assert 'LPS (where i, j, k grow to; right-handed storage)' in done.output


def test_ct_info_lists_several_series_and_describes_the_chosen_one(tmp_path):
    write_dicom(tmp_path, numbered_phantom((3, 4, 5)), uid='1.2.3.1')
    write_dicom(tmp_path, numbered_phantom((4, 6, 5)), uid='1.2.3.2')
    done = run('ct-info', tmp_path)
    assert done.exit_code == 0
    assert '1.2.3.1' in done.output and '1.2.3.2' in done.output and '--series' in done.output
    chosen = run('ct-info', tmp_path, '--series', '1.2.3.2')
    assert '5 x 6 x 4 voxels' in chosen.output
    assert run('ct-info', tmp_path, '--series', '9').exit_code == 2


def test_ct_info_of_nothing_is_an_error_on_stderr(tmp_path):
    done = run('ct-info', tmp_path / 'absent')
    assert done.exit_code == 2
    assert done.stdout == '' and 'no such file' in done.stderr and 'Traceback' not in done.output
