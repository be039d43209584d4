"""Launch files load, explain their arguments and stay short; needs an installed launch."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip('launch_ros')

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from launch import LaunchContext
from launch.actions import (
    DeclareLaunchArgument,
    OpaqueFunction,
    SetEnvironmentVariable,
    Shutdown,
)
from launch.utilities import normalize_to_list_of_substitutions, perform_substitutions
from launch_ros.utilities import evaluate_parameters

from sph_reg_ros.ros.launch_arguments import given_values

pytestmark = pytest.mark.ros_full
FOLDER = Path(__file__).parents[2] / 'launch'
NAMES = ['registration.launch.py', 'demo.launch.py']
PROFILE = 'FASTRTPS_DEFAULT_PROFILES_FILE'


def load(name: str):
    """Return the description of a launch file."""
    try:
        get_package_share_directory('sph_reg_ros')
    except PackageNotFoundError:
        pytest.skip('the package is not installed in a ROS 2 workspace')
    spec = importlib.util.spec_from_file_location(name.replace('.', '_'), FOLDER / name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.generate_launch_description()


@pytest.mark.parametrize('name', NAMES)
def test_every_argument_has_a_default_and_a_description(name):
    arguments = load(name).get_launch_arguments()
    assert {'ct', 'namespace', 'use_sim_time', 'log_level', 'rviz'} <= {a.name for a in arguments}
    for argument in arguments:
        assert isinstance(argument, DeclareLaunchArgument)
        assert argument.default_value is not None
        assert len(argument.description) > 10


@pytest.mark.parametrize('name', [*NAMES, 'replay.launch.py'])
def test_a_launch_file_fits_on_two_screens(name):
    assert len((FOLDER / name).read_text(encoding='utf-8').splitlines()) <= 120


@pytest.mark.parametrize('own', ['', '/somewhere/own.xml'])
def test_the_profile_for_large_images_is_set_unless_the_user_has_one(own, monkeypatch):
    monkeypatch.delenv(PROFILE, raising=False)
    if own:
        monkeypatch.setenv(PROFILE, own)
    settings = [
        entity
        for entity in load('registration.launch.py').entities
        if isinstance(entity, SetEnvironmentVariable)
    ]
    (setting,) = settings
    setting.execute(context := LaunchContext())
    assert context.environment[PROFILE].endswith(own or 'config/fastdds_large_images.xml')


def started(name: str, **given: str):
    """Return the nodes of a launch file and the parameters that its arguments set."""
    context = LaunchContext()
    description = load(name)
    for argument in description.get_launch_arguments():
        context.launch_configurations[argument.name] = argument.default_value[0].text
    context.launch_configurations.update(given)
    (action,) = [e for e in description.entities if isinstance(e, OpaqueFunction)]
    return context, action.execute(context)


def test_what_is_not_given_leaves_the_parameter_file_in_charge():
    context = LaunchContext()
    context.launch_configurations.update(ct='/my/ct', patient_frame='', images='3')
    overrides = {
        'ct': ('ct.path', str),
        'patient_frame': ('frames.patient', str),
        'images': ('images', int),
    }
    values = given_values(context, overrides)
    assert {name: value.evaluate(context) for name, value in values.items()} == {
        'ct.path': '/my/ct',
        'images': 3,
    }


def test_a_parameter_file_that_is_not_there_stops_the_launch():
    with pytest.raises(FileNotFoundError, match='params_file'):
        started('registration.launch.py', params_file='/not/there.yaml')


def test_whoever_brings_a_ct_needs_no_sample(monkeypatch):
    def missing(name):
        raise AssertionError('the sample was looked for')

    monkeypatch.setattr('sph_reg_ros.imaging.sample.find_spec', missing)
    context, nodes = started('demo.launch.py', ct='/my/ct')
    assert len(nodes) == 2
    with pytest.raises(AssertionError, match='looked for'):
        started('demo.launch.py')


def parameters(context: LaunchContext, node) -> dict:
    """Return the parameters that a node is given besides its file."""
    evaluated = evaluate_parameters(context, node._Node__parameters)
    return {
        name: value
        for group in evaluated
        if isinstance(group, dict)
        for name, value in group.items()
    }


def test_by_default_the_arguments_set_nothing_but_autostart():
    context, (node,) = started('registration.launch.py')
    assert parameters(context, node) == {'autostart': True}
    context, (_, simulator) = started('demo.launch.py', ct='/my/ct')
    assert parameters(context, simulator) == {'ct.path': '/my/ct'}


def test_simulated_time_is_for_the_simulator_too():
    context, (_, simulator) = started('demo.launch.py', ct='/my/ct', use_sim_time='true')
    assert parameters(context, simulator)['use_sim_time'] is True


def test_a_replay_runs_in_simulated_time_and_ends_with_its_player():
    context, (registration, player) = started('replay.launch.py', bag='/my/bag', ct='/my/ct')
    given = {
        perform_substitutions(context, normalize_to_list_of_substitutions(name)): value
        for name, value in registration.launch_arguments
    }
    assert given['use_sim_time'] == 'true'
    (shutdown,) = player._ExecuteLocal__on_exit(SimpleNamespace(returncode=0), context)
    assert isinstance(shutdown, Shutdown)
    with pytest.raises(RuntimeError, match='exit code 1'):
        player._ExecuteLocal__on_exit(SimpleNamespace(returncode=1), context)


def test_names_of_topics_in_the_bag_are_passed_on():
    topics = 'image:=/a camera_info:=/b'
    _, (_, player) = started('replay.launch.py', bag='/b', ct='/c', topics=topics)
    words = [part.text for word in player.cmd for part in word if hasattr(part, 'text')]
    given = [words[n + 1] for n, word in enumerate(words) if word == '--topic']
    assert given == topics.split()


@pytest.mark.parametrize('given', [{}, {'bag': '/my/bag'}, {'ct': '/my/ct'}])
def test_a_replay_without_bag_or_ct_does_not_start(given):
    with pytest.raises(ValueError, match='is needed'):
        started('replay.launch.py', **given)
