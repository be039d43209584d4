"""The node's parameter file is read and written without ROS."""

from pathlib import Path

import pytest

from sph_reg_ros.errors import ConfigError
from sph_reg_ros.replay.params_file import parameters_text, read_parameters
from sph_reg_ros.service.parameters import NodeParameters

REPOSITORY = Path(__file__).parents[2]


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_the_shipped_file_holds_the_defaults():
    assert read_parameters(REPOSITORY / 'config/registration.yaml') == NodeParameters()


def test_single_parameters_win_over_the_file(tmp_path):
    path = written(
        tmp_path / 'p.yaml',
        'registration:\n  ros__parameters:\n    use_sim_time: true\n'
        '    matching: {timeout: 2}\n    registration: {levels: [16, 64]}\n',
    )
    parameters = read_parameters(path, ['matching.timeout:=3.5', 'use_imager_pose:=false'])
    assert parameters.matching.timeout == 3.5 and not parameters.use_imager_pose
    assert parameters.registration.config.levels == (16, 64)
    assert read_parameters(path).matching.timeout == 2.0


def test_what_a_shared_file_has_for_other_nodes_is_left_to_them(tmp_path):
    path = written(
        tmp_path / 'p.yaml',
        '/**: {ros__parameters: {robot_ip: 10.0.0.1, matching: {timeout: 4}}}\n'
        '/**/registration: {ros__parameters: {continuous: false}}\n',
    )
    parameters = read_parameters(path)
    assert parameters.matching.timeout == 4.0 and not parameters.continuous


def test_what_is_written_is_read_back(tmp_path):
    parameters = read_parameters(None, ['image.i0:=1000.0', 'registration.starts:=0'])
    path = written(tmp_path / 'p.yaml', parameters_text(parameters))
    assert read_parameters(path) == parameters


@pytest.mark.parametrize(
    'text',
    [
        '[1, 2',
        'other_node: {ros__parameters: {autostart: true}}',
        'registration: {autostart: true}',
        'registration: {ros__parameters: {autostrat: true}}',
        'registration: {ros__parameters: {matching: {timeout: fast}}}',
        'registration: {ros__parameters: {matching: {timeout: 1e9}}}',
        'registration: {ros__parameters: {autostart: }}',
    ],
)
def test_a_wrong_file_is_refused(tmp_path, text):
    with pytest.raises(ConfigError):
        read_parameters(written(tmp_path / 'p.yaml', text))


@pytest.mark.parametrize(
    'given', ['autostart', 'nonsense:=1', 'matching.timeout:=', 'autostart:=7', 'ct.path:=[1']
)
def test_a_wrong_single_parameter_is_refused(given):
    with pytest.raises(ConfigError):
        read_parameters(None, [given])


@pytest.mark.parametrize('name', ['/data/ct #2', '/data/a: b', '[1', '0123', "/data/o'neill"])
def test_a_fixed_path_is_taken_to_the_letter_and_wins(name):
    parameters = read_parameters(None, ['ct.path:=/other'], {'ct.path': name})
    assert parameters.ct.path == name


def test_an_absent_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match='cannot be read'):
        read_parameters(tmp_path / 'absent.yaml')
