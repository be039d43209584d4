"""What the launch files share; imports launch, so only where ROS 2 is installed."""

from collections.abc import Mapping
from pathlib import Path

from launch import LaunchContext
from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration
from launch_ros.parameter_descriptions import ParameterValue

Override = tuple[str, type]
"""A parameter and its type."""


def declarations(arguments: Mapping[str, tuple[str, str]]) -> list[DeclareLaunchArgument]:
    """Return the actions that declare arguments, given as name: (default, description)."""
    return [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in arguments.items()
    ]


def given_values(
    context: LaunchContext, overrides: Mapping[str, Override]
) -> dict[str, ParameterValue]:
    """Return the parameters whose arguments are not empty; the others are left to the file."""
    return {
        parameter: ParameterValue(LaunchConfiguration(argument), value_type=kind)
        for argument, (parameter, kind) in overrides.items()
        if LaunchConfiguration(argument).perform(context)
    }


def existing_file(context: LaunchContext, argument: str) -> str:
    """Return the path that an argument holds.

    Raises:
        FileNotFoundError: there is no such file; launch itself would go on with defaults.
    """
    path = LaunchConfiguration(argument).perform(context)
    if not Path(path).is_file():
        raise FileNotFoundError(f'{argument}: there is no file {path}')
    return path
