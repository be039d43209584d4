"""Parameters on a real node: files, sets as ROS's services make them, what `describe` says."""

from contextlib import contextmanager
from dataclasses import dataclass

import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

import rclpy
from rclpy.context import Context
from rclpy.parameter import Parameter

from sph_reg_ros.errors import ConfigError
from sph_reg_ros.ros.parameter_server import ParameterServer
from sph_reg_ros.service.parameters import NodeParameters, parameter

pytestmark = pytest.mark.ros


@dataclass(frozen=True)
class Small:
    """What people write in another way than it is kept."""

    seconds: float = parameter(1.0, 'a duration', low=0.0, high=60.0)
    sizes: tuple[float, ...] = parameter((1.0, 2.0), 'several')
    count: int = parameter(1, 'a number', low=0, high=9, fixed_while='running')
    mode: str = parameter(
        'auto', 'a choice', choices=('auto', 'true', 'false'), fixed_while='active'
    )


@contextmanager
def served(*arguments: str, tree: type = Small):
    """Give a node in a namespace, and its server; the arguments are those of its process."""
    context = Context()
    given = ['--ros-args', *arguments]
    rclpy.init(args=given, context=context)
    node = rclpy.create_node('registration', context=context, namespace='/or1', enable_rosout=False)
    try:
        yield node, ParameterServer(node, lambda _: False, tree, given)
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)


def file_with(folder, text: str) -> str:
    path = folder / 'parameters.yaml'
    path.write_text(text)
    return str(path)


def test_whole_numbers_and_true_are_taken_as_meant_from_a_file(tmp_path):
    path = file_with(
        tmp_path,
        '/**/registration: {ros__parameters: {seconds: 3, sizes: [3, 4], mode: true}}',
    )
    with served('--params-file', path) as (node, server):
        assert server.tree == Small(seconds=3.0, sizes=(3.0, 4.0), mode='true')
        assert node.get_parameter('seconds').type_ == Parameter.Type.DOUBLE
        assert node.get_parameter('sizes').type_ == Parameter.Type.DOUBLE_ARRAY


def test_whole_numbers_and_true_are_taken_as_meant_on_the_command_line():
    with served('-p', 'seconds:=3', '-p', 'mode:=false') as (_, server):
        assert server.tree == Small(seconds=3.0, mode='false')


def test_whole_numbers_and_true_are_taken_as_meant_while_the_node_runs():
    with served() as (node, server):
        for name, value in {'seconds': 7, 'sizes': [5, 6], 'mode': True}.items():
            # This is what ROS's services do with what `ros2 param set` sends.
            message = Parameter(name, value=value).to_parameter_msg()
            result = node.set_parameters_atomically([Parameter.from_parameter_msg(message)])
            assert result.successful, result.reason
        assert server.tree == Small(seconds=7.0, sizes=(5.0, 6.0), mode='true')
        assert node.get_parameter('seconds').value == 7.0
        refused = node.set_parameters_atomically([Parameter('seconds', value=61)])
        assert not refused.successful and server.tree.seconds == 7.0


def test_the_tree_is_built_again_only_after_a_change():
    with served(tree=NodeParameters) as (node, server):
        before = server.tree
        assert server.tree is before
        node.set_parameters_atomically([Parameter('continuous', value=False)])
        changed = server.tree
        assert changed is not before and not changed.continuous
        node.set_parameters([Parameter('continuous', value=True)])
        assert server.tree == before


def test_what_others_need_in_a_shared_file_is_a_warning(tmp_path, capfd):
    path = file_with(tmp_path, '/**: {ros__parameters: {robot_ip: 10.0.0.1, seconds: 2}}')
    with served('--params-file', path) as (_, server):
        assert server.tree.seconds == 2.0
    said = capfd.readouterr().err
    assert "unknown parameter 'robot_ip'" in said and 'nodes of any name' in said


@pytest.mark.parametrize('node', ['/**/registration', '/or1/registration', 'or1: {registration'])
def test_a_foreign_name_under_the_own_name_stops_the_node(tmp_path, node):
    text = f'{node}: {{ros__parameters: {{secnods: 2.0}}}}' + '}' * node.count('{')
    shared = tmp_path / 'shared.yaml'
    shared.write_text('/**: {ros__parameters: {secnods: 2.0}}')
    own = file_with(tmp_path, text)
    with (
        pytest.raises(ConfigError, match="'secnods': did you mean 'seconds'"),
        served('--params-file', str(shared), '--params-file', own),
    ):
        pass


def test_a_foreign_name_on_the_command_line_stops_the_node():
    with pytest.raises(ConfigError, match='robot_ip'), served('-p', 'robot_ip:=1'):
        pass


def test_a_wrong_value_in_a_shared_file_stops_the_node(tmp_path):
    path = file_with(tmp_path, '/**: {ros__parameters: {seconds: fast}}')
    with pytest.raises(ConfigError, match='must be a valid number'), served('--params-file', path):
        pass


def test_describe_shows_choices_ranges_and_what_is_fixed():
    with served() as (node, _):
        mode = node.describe_parameter('mode')
        assert mode.additional_constraints == (
            'one of: auto, true, false; cannot be changed while active'
        )
        seconds, count = node.describe_parameter('seconds'), node.describe_parameter('count')
        assert seconds.floating_point_range[0].to_value == 60.0 and not seconds.read_only
        assert count.integer_range[0].to_value == 9 and count.read_only
    with served(tree=NodeParameters) as (node, _):
        method = node.describe_parameter('registration.method')
        assert method.additional_constraints == 'one of: spherical, image'
