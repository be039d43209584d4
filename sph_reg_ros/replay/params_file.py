"""Reads and writes the node's parameter file without ROS."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from sph_reg_ros.errors import ConfigError, ErrorCode
from sph_reg_ros.service.parameter_files import Section, sections
from sph_reg_ros.service.parameters import NodeParameters
from sph_reg_ros.settings import build, specs

_NODE = '/**/registration'
_ROS_ONLY = {'use_sim_time'}


def read_parameters(
    path: Path | None, given: Iterable[str] = (), fixed: Mapping[str, Any] | None = None
) -> NodeParameters:
    """Return the node's parameters: defaults, over them a file, over that single ones.

    Args:
        path: YAML as ROS has it: node name, ros__parameters, values.
        given: texts `name:=value`, the value in YAML, as after -p of `ros2 run`.
        fixed: values by name, over all the others; a path is no YAML and belongs here.

    Raises:
        ConfigError: the file cannot be read, or a parameter is unknown or out of range.
    """
    values: dict[str, Any] = {} if path is None else dict(_file_values(path))
    for text in given:
        name, sign, value = text.partition(':=')
        if not sign:
            raise _invalid(f'{text!r} is not NAME:=VALUE')
        try:
            values[name] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise _invalid(f'{text!r}: the value is no YAML') from None
    return build(values | dict(fixed or {}), NodeParameters)


def parameters_text(parameters: NodeParameters) -> str:
    """Return all parameters as a file that `ros2 run` and `sph-reg replay` take."""
    return yaml.safe_dump({_NODE: {'ros__parameters': asdict(parameters)}}, sort_keys=False)


def _file_values(path: Path) -> Iterator[tuple[str, Any]]:
    known = specs(NodeParameters)
    matching = [section for section in sections(path) if _is_meant(section)]
    if not matching:
        raise _invalid(f'{path} has nothing for a node named registration')
    for section in matching:
        for name, value in section.values.items():
            # What a shared file gives to nodes of any name may be meant for others, as in ROS.
            if name in known or not (section.is_shared or name in _ROS_ONLY):
                yield name, value


def _is_meant(section: Section) -> bool:
    """Return whether the node is meant, in whatever namespace."""
    return section.is_shared or section.pattern.rpartition('/')[2] == 'registration'


def _invalid(reason: str) -> ConfigError:
    return ConfigError(ErrorCode.CONFIG_INVALID, reason)
