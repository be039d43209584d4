"""Launch files load, explain their arguments and stay short; needs an installed launch."""

import importlib.util
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip('launch_ros')

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from launch import LaunchContext
from launch.actions import DeclareLaunchArgument, OpaqueFunction, Shutdown
from launch.substitutions import TextSubstitution
from launch.utilities import normalize_to_list_of_substitutions, perform_substitutions
from launch_ros.actions import Node
from launch_ros.utilities import evaluate_parameters

from sph_reg_ros.ros.launch_arguments import PROFILES, given_values, large_images, own_namespace
from sph_reg_ros.service.parameters import NodeParameters
from sph_reg_ros.service.simulator_parameters import SimulatorParameters
from sph_reg_ros.settings import specs

pytestmark = pytest.mark.ros_full
FOLDER = Path(__file__).parents[2] / 'launch'
NAMES = ['registration.launch.py', 'demo.launch.py']


def module_of(name: str):
    """Return a launch file as a module."""
    try:
        get_package_share_directory('sph_reg_ros')
    except PackageNotFoundError:
        pytest.skip('the package is not installed in a ROS 2 workspace')
    spec = importlib.util.spec_from_file_location(name.replace('.', '_'), FOLDER / name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load(name: str):
    """Return the description of a launch file."""
    return module_of(name).generate_launch_description()


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


def started(name: str, **given: str):
    """Return the nodes of a launch file and the parameters that its arguments set."""
    context = LaunchContext()
    for variable in PROFILES:
        context.environment.pop(variable, None)
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


@pytest.mark.parametrize(
    ('name', 'tree'),
    [('registration.launch.py', NodeParameters), ('demo.launch.py', SimulatorParameters)],
)
def test_every_argument_that_sets_a_parameter_has_its_type(name, tree):
    known = specs(tree)
    for parameter, kind in module_of(name).OVERRIDES.values():
        if parameter != 'use_sim_time':
            assert type(known[parameter].default) is (str if kind is Path else kind), parameter


def test_a_parameter_file_that_is_not_there_stops_the_launch_and_is_named():
    with pytest.raises(FileNotFoundError, match=r'params_file: there is no file /not/there\.yaml'):
        started('registration.launch.py', params_file='/not/there.yaml')


def test_home_and_variables_in_paths_stand_for_what_they_mean(monkeypatch, tmp_path):
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.setenv('PATIENT', 'p7')
    shutil.copy(FOLDER.parent / 'config/registration.yaml', tmp_path / 'own.yaml')
    context, (node,) = started(
        'registration.launch.py',
        ct='~/$PATIENT/ct',
        weights='${HOME}/networks',
        params_file='~/own.yaml',
    )
    values = parameters(context, node)
    assert values['ct.path'] == f'{tmp_path}/p7/ct'
    assert values['weights.path'] == f'{tmp_path}/networks'
    assert tmp_path / 'own.yaml' in evaluate_parameters(context, node._Node__parameters)
    with pytest.raises(FileNotFoundError, match=r'/\$NO_SUCH_VARIABLE/own\.yaml'):
        started('registration.launch.py', params_file='~/$NO_SUCH_VARIABLE/own.yaml')


def test_the_arguments_become_parameters_of_their_type():
    context, (node,) = started(
        'registration.launch.py',
        max_age='3',
        valid_for='20',
        track='true',
        rectified='true',
        use_imager_pose='False',
        patient_frame='12',
        imager_pose_source='tf',
        bright_air='true',
        calibration='nominal',
        max_tre_across_mm='2',
        device='cpu',
    )
    values = parameters(context, node)
    assert {name: repr(values[name]) for name in values} == {
        'image.max_age': '3.0',
        'validity.duration': '20.0',
        'tracking.enabled': 'True',
        'image.rectified': 'True',
        'use_imager_pose': 'False',
        'frames.patient': "'12'",
        'imager_pose.source': "'tf'",
        'image.bright_air': "'true'",
        'registration.calibration': "'nominal'",
        'registration.max_tre_across_mm': '2.0',
        'registration.device': "'cpu'",
        'autostart': 'True',
    }


@pytest.mark.parametrize(
    ('argument', 'value', 'kind'),
    [('max_age', 'soon', 'float'), ('rectified', 'perhaps', 'bool'), ('respawn', '7', 'bool')],
)
def test_an_argument_of_the_wrong_type_is_named(argument, value, kind):
    with pytest.raises(ValueError, match=f'{argument}:={value}: this must be a {kind}'):
        started('registration.launch.py', **{argument: value})


def environment_of(context: LaunchContext, node) -> dict[str, str]:
    """Return what a node's environment has besides that of the launch."""
    return {
        perform_substitutions(context, name): perform_substitutions(context, value)
        for name, value in node.process_description.additional_env or []
    }


@pytest.mark.parametrize('name', [*NAMES, 'replay.launch.py'])
def test_the_profile_for_large_images_is_for_our_nodes_only(name):
    context, actions = started(name, ct='/my/ct', bag='/my/bag')
    assert not set(PROFILES) & set(context.environment)
    for node in actions:
        if isinstance(node, Node):
            environment = environment_of(context, node)
            assert set(environment) == set(PROFILES)
            for path in environment.values():
                assert path.endswith('config/fastdds_large_images.xml') and Path(path).is_file()


@pytest.mark.parametrize('variable', PROFILES)
def test_a_profile_that_the_user_has_is_left_alone(variable):
    context = LaunchContext()
    for name in PROFILES:
        context.environment.pop(name, None)
    assert set(large_images(context, '/ours.xml').values()) == {'/ours.xml'}
    context.environment[variable] = '/somewhere/own.xml'
    assert large_images(context, '/ours.xml') == {}


@pytest.mark.parametrize(
    ('pushed', 'given', 'own'),
    [
        ('', '', ''),
        ('', 'arm', 'arm'),
        ('', '/arm', '/arm'),
        ('/arm', '', ''),
        ('/arm', 'arm', ''),
        ('/or1/arm', 'arm', ''),
        ('/or1/arm', 'or1/arm', ''),
        ('/or1', 'arm', 'arm'),
        ('/left_arm', 'arm', 'arm'),
        ('/arm', '/arm', '/arm'),
    ],
)
def test_a_namespace_that_was_pushed_already_is_not_taken_twice(pushed, given, own):
    context = LaunchContext()
    context.launch_configurations['namespace'] = given
    if pushed:
        context.launch_configurations['ros_namespace'] = pushed
    assert own_namespace(context) == own


def files_of(context: LaunchContext, node) -> list[Path]:
    evaluated = evaluate_parameters(context, node._Node__parameters)
    return [value for value in evaluated if isinstance(value, Path)]


def test_a_parameter_file_for_other_nodes_is_not_taken_for_ours(tmp_path):
    foreign = tmp_path / 'robot.yaml'
    foreign.write_text('/**/arm_driver: {ros__parameters: {ip: 10.0.0.1}}')
    context, (node,) = started('registration.launch.py', params_file=str(foreign))
    assert [path.name for path in files_of(context, node)] == ['registration.yaml']
    foreign.write_text('/**: {ros__parameters: {use_sim_time: true}}')
    context, (node,) = started('registration.launch.py', params_file=str(foreign))
    assert files_of(context, node) == [foreign]


@pytest.mark.parametrize(
    ('arguments', 'in_file', 'frame'),
    [
        ({}, '{}', 'patient'),
        ({}, '{frames: {patient: from_file}}', 'from_file'),
        ({'patient_frame': 'mine'}, '{frames: {patient: from_file}}', 'mine'),
        ({'patient_frame': 'mine', 'rviz_frame': 'world'}, '{}', 'world'),
        ({'fixed_frame': 'base'}, '{use_sim_time: true}', 'patient'),
        ({'imager_pose_source': 'tf', 'fixed_frame': 'base'}, '{}', 'base'),
        ({}, '{imager_pose: {source: tf, fixed_frame: floor}}', 'floor'),
        ({'use_imager_pose': 'false'}, '{imager_pose: {source: tf, fixed_frame: a}}', 'patient'),
    ],
)
def test_the_fixed_frame_of_rviz_follows_the_parameters(arguments, in_file, frame, tmp_path):
    path = tmp_path / 'own.yaml'
    path.write_text(f'/**/registration: {{ros__parameters: {in_file}}}')
    context, (node, rviz) = started(
        'registration.launch.py', rviz='true', params_file=str(path), image='/cam', **arguments
    )
    words = words_of(context, rviz)
    assert words[words.index('-f') + 1] == frame
    # So that it shows the images that the node gets.
    assert ('image', '/cam') in [
        tuple(perform_substitutions(context, list(side)) for side in pair)
        for pair in rviz._Node__remappings
    ]


def words_of(context: LaunchContext, node) -> list[str]:
    return [
        perform_substitutions(context, word)
        for word in node.cmd
        if all(isinstance(part, TextSubstitution) for part in word)
    ]


def test_the_demo_shows_the_frame_of_its_simulator(tmp_path):
    path = tmp_path / 'own.yaml'
    path.write_text('/**/carm_simulator: {ros__parameters: {frames: {fixed: floor}}}')
    context, (registration, _) = started(
        'demo.launch.py', ct='/my/ct', simulator_params_file=str(path)
    )
    given = {
        perform_substitutions(context, normalize_to_list_of_substitutions(name)): value
        for name, value in registration.launch_arguments
    }
    assert given['rviz_frame'] == 'floor'


def test_a_node_that_fails_makes_the_launch_fail_unless_it_is_started_again():
    _, (node,) = started('registration.launch.py')
    failed = SimpleNamespace(returncode=2, process_name='registration-1')
    on_exit = node._ExecuteLocal__on_exit
    running, ending = SimpleNamespace(is_shutdown=False), SimpleNamespace(is_shutdown=True)
    with pytest.raises(RuntimeError, match=r'registration-1 has failed \(exit code 2\)'):
        on_exit(failed, running)
    assert on_exit(failed, ending) is None
    for code in (0, -2, -9):
        assert on_exit(SimpleNamespace(returncode=code, process_name='x'), running) is None
    _, (again,) = started('registration.launch.py', respawn='true')
    assert again._ExecuteLocal__on_exit is None
    assert again._ExecuteLocal__respawn_delay > 0


def test_whoever_brings_a_ct_needs_no_sample(monkeypatch):
    def missing(name):
        raise AssertionError('the sample was looked for')

    monkeypatch.setattr('sph_reg_ros.imaging.sample_ct.find_spec', missing)
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
