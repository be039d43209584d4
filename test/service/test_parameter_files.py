"""Parameter files: which of their sections are meant for a node, by name or for nodes of any."""

import re

import pytest

from sph_reg_ros.errors import ConfigError
from sph_reg_ros.service.parameter_files import Section, merely_shared, sections, values_for

NODE = '/or1/registration'
SHARED = """
/**:
  ros__parameters:
    robot_ip: 10.0.0.1
    gripper: {force: 3}
    continuous: false
registration:
  ros__parameters: {ct.path: /elsewhere}
or1:
  registration:
    ros__parameters:
      frames: {patient: mine}
"""


@pytest.mark.parametrize(
    ('pattern', 'node', 'meant'),
    [
        ('/**', '/registration', True),
        ('/**', '/a/b/registration', True),
        ('/**/registration', '/registration', True),
        ('/**/registration', '/a/b/registration', True),
        ('registration', '/registration', True),
        ('registration', '/a/registration', False),
        ('/*', '/registration', True),
        ('/*', '/a/registration', False),
        ('/*/registration', '/a/registration', True),
        ('/*/registration', '/registration', False),
        ('/a/**', '/a/b/registration', True),
        ('/a/**', '/b/registration', False),
        ('/**/registration', '/my_registration', False),
        ('/a.b/registration', '/a_b/registration', False),
    ],
)
def test_a_pattern_means_the_nodes_that_ros_takes_it_for(pattern, node, meant):
    assert Section(pattern, {}).addresses(node) is meant


def test_a_file_says_to_a_node_what_is_for_all_and_what_is_for_it(tmp_path):
    path = tmp_path / 'shared.yaml'
    path.write_text(SHARED)
    assert values_for(NODE, path) == {
        'robot_ip': '10.0.0.1',
        'gripper.force': 3,
        'continuous': False,
        'frames.patient': 'mine',
    }
    assert values_for('/registration', path)['ct.path'] == '/elsewhere'


def test_names_that_only_a_shared_section_gives_are_told_apart(tmp_path):
    path = tmp_path / 'shared.yaml'
    path.write_text(SHARED)
    arguments = ['node', '--ros-args', '--params-file', str(path), '-p']
    assert merely_shared(NODE, [*arguments, 'registration:robot_ip:=1']) == {
        'gripper.force',
        'continuous',
    }
    own = tmp_path / 'own.yaml'
    own.write_text('/**/registration: {ros__parameters: {gripper.force: 1, robot_ip: 2}}')
    assert merely_shared(NODE, [*arguments, 'x:=1', '--params-file', str(own)]) == {'continuous'}
    assert merely_shared(NODE, ['node']) == set()


@pytest.mark.parametrize('text', ['7', 'a: {b: 1}', '', '[1, 2]', 'ros__parameters: 7'])
def test_a_file_of_another_kind_says_nothing_to_any_node(tmp_path, text):
    path = tmp_path / 'p.yaml'
    path.write_text(text)
    assert values_for(NODE, path) == {}


@pytest.mark.parametrize('text', ['[1, 2', '\0'])
def test_what_is_no_yaml_is_refused_with_its_path(tmp_path, text):
    path = tmp_path / 'p.yaml'
    path.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(str(path))):
        sections(path)
    with pytest.raises(ConfigError, match='cannot be read'):
        sections(tmp_path / 'absent.yaml')
