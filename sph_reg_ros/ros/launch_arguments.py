"""Arguments and actions that the launch files share."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from launch import LaunchContext
from launch.action import Action
from launch.actions import DeclareLaunchArgument, PopLaunchConfigurations, PushLaunchConfigurations
from launch.events.process import ProcessExited
from launch.logging import get_logger
from launch.substitutions import LaunchConfiguration
from launch_ros.parameter_descriptions import ParameterValue

from sph_reg_ros.service.parameter_files import values_for

Override = tuple[str, type]
"""A parameter and its type; Path for a text that may begin with ~."""

# Fast DDS before 3.0, and from then on.
PROFILES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')


def declarations(arguments: Mapping[str, tuple[str, str]]) -> list[DeclareLaunchArgument]:
    """Return the actions that declare arguments, given as name: (default, description)."""
    return [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in arguments.items()
    ]


def scoped(actions: Iterable[Action]) -> list[Action]:
    """Return actions after which the launch configurations are what they were before.

    Launch has one table of arguments for all files: without this our defaults would be those of
    every file that is included after ours.
    """
    return [PushLaunchConfigurations(), *actions, PopLaunchConfigurations()]


def given_values(
    context: LaunchContext, overrides: Mapping[str, Override]
) -> dict[str, ParameterValue]:
    """Return the parameters whose arguments are not empty; the others are left to the file.

    Raises:
        ValueError: an argument is not of its type.
    """
    values = {}
    for argument, (parameter, kind) in overrides.items():
        if not given(context, argument):
            continue
        if kind is Path:
            values[parameter] = ParameterValue(given_path(context, argument), value_type=str)
        else:
            values[parameter] = _typed(context, argument, kind)
    return values


def _typed(context: LaunchContext, argument: str, kind: type) -> ParameterValue:
    value = ParameterValue(LaunchConfiguration(argument), value_type=kind)
    try:
        value.evaluate(context)
    # Launch's own text does not name the argument.
    except ValueError:
        text = given(context, argument)
        raise ValueError(f'{argument}:={text}: this must be a {kind.__name__}') from None
    return value


def is_true(context: LaunchContext, argument: str) -> bool:
    """Return whether an argument is true; raises ValueError if it is neither true nor false."""
    return bool(_typed(context, argument, bool).evaluate(context))


def given(context: LaunchContext, argument: str) -> str:
    """Return the text of an argument."""
    return str(LaunchConfiguration(argument).perform(context))


def given_path(context: LaunchContext, argument: str) -> str:
    """Return the path that an argument holds: ~ and $VARIABLES stand for what they mean.

    A shell leaves them as they are after `argument:=`.
    """
    return os.path.expanduser(os.path.expandvars(given(context, argument)))


def existing_file(context: LaunchContext, argument: str) -> str:
    """Return the path that an argument holds.

    Raises:
        FileNotFoundError: there is no such file; launch itself would go on with defaults.
    """
    path = given_path(context, argument)
    if not Path(path).is_file():
        raise FileNotFoundError(f'{argument}: there is no file {path}')
    return path


def parameter_file(context: LaunchContext, argument: str, node: str, default: str) -> str:
    """Return the path of a node's parameter file.

    A file with nothing for the node is not taken, and a warning says so: it belongs to a launch
    file that includes ours and has an argument of the same name, which launch hands down unasked.

    Args:
        context: of the launch.
        argument: holds the path.
        node: name of the node.
        default: taken instead.

    Raises:
        FileNotFoundError: there is no such file.
        ConfigError: it is no parameter file.
    """
    path = existing_file(context, argument)
    name = full_name(context, node)
    if path == default or values_for(name, Path(path)):
        return path
    get_logger('sph_reg_ros').warning(
        f'{argument}: {path} has nothing for {name}; {default} is taken instead'
    )
    return default


def own_namespace(context: LaunchContext) -> str:
    """Return the argument `namespace`, empty if a file that includes ours has pushed it already.

    Its own argument of that name would else count twice: `/arm/arm`.
    """
    namespace = given(context, 'namespace')
    pushed, parts = _pushed(context).strip('/').split('/'), namespace.rstrip('/').split('/')
    return '' if parts == pushed[-len(parts) :] else namespace


def full_name(context: LaunchContext, node: str) -> str:
    """Return the full name of a node of ours."""
    namespace = own_namespace(context)
    if not namespace.startswith('/'):
        namespace = f'{_pushed(context)}/{namespace}'
    parts = [part for part in namespace.split('/') if part]
    return '/' + '/'.join([*parts, node])


def _pushed(context: LaunchContext) -> str:
    return str(context.launch_configurations.get('ros_namespace', ''))


def large_images(context: LaunchContext, profile: str) -> dict[str, str]:
    """Return the environment of our nodes: a Fast DDS profile, unless the user has one.

    For our nodes only: it binds to this machine, which other nodes must not be surprised by.
    """
    if any(name in context.environment for name in PROFILES):
        return {}
    return dict.fromkeys(PROFILES, profile)


def viewing_frame(context: LaunchContext, params_file: str) -> str:
    """Return RViz's fixed frame for the registration node.

    It is the one that was asked for, or the fixed frame if the parameters name it, or else the
    patient, which hangs on a frame that only the messages name.
    """
    in_file = values_for(full_name(context, 'registration'), Path(params_file))

    def value(argument: str, parameter: str, default: str) -> str:
        return given(context, argument) or str(in_file.get(parameter, default))

    from_tf = (
        value('use_imager_pose', 'use_imager_pose', 'true').lower() == 'true'
        and value('imager_pose_source', 'imager_pose.source', 'topic') == 'tf'
    )
    fixed = value('fixed_frame', 'imager_pose.fixed_frame', '') if from_tf else ''
    patient = value('patient_frame', 'frames.patient', 'patient')
    return given(context, 'rviz_frame') or fixed or patient


def end_if_failed(event: ProcessExited, context: LaunchContext) -> None:
    """End the launch if a node has ended by itself with an error, such as a wrong parameter.

    Raises:
        RuntimeError: it has; only an error makes the exit code of `ros2 launch` 1.
    """
    if event.returncode > 0 and not context.is_shutdown:
        raise RuntimeError(
            f'{event.process_name} has failed (exit code {event.returncode}); what it said last is '
            'the reason'
        )
