"""Declares and validates the node's parameters."""

import array
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Generic, TypeVar

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import InvalidParameterTypeException
from rclpy.node import Node
from rclpy.parameter import Parameter

from sph_reg_ros.errors import ConfigError, ErrorCode
from sph_reg_ros.service.parameter_files import merely_shared
from sph_reg_ros.settings import Spec, Value, build, specs, unknown_message

T = TypeVar('T')

# Names that rclpy itself declares or reads.
_FOREIGN = ('use_sim_time', 'start_type_description_service', 'qos_overrides.')


class ParameterServer(Generic[T]):
    """Declares every parameter on a node and keeps the tree in step with what is set."""

    def __init__(
        self,
        node: Node,
        is_fixed: Callable[[str], bool],
        tree: type[T],
        arguments: Sequence[str] | None = None,
    ) -> None:
        """Declare, with values from files and the command line.

        Args:
            node: where to declare.
            is_fixed: tells whether a value of FixedWhile holds now.
            tree: settings class that says what to declare.
            arguments: of rclpy.init; those of the process if None.

        Raises:
            ConfigError: a name that is given to this very node is unknown, or a value is wrong.
        """
        self._node = node
        self._is_fixed = is_fixed
        self._type = tree
        self._specs = specs(tree)
        self._require_known(sys.argv if arguments is None else arguments)
        for spec in self._specs.values():
            self._declare(spec)
        present = self._present()
        self._built = present, build(present, tree)
        node.add_on_set_parameters_callback(self._check)
        self._set_as_given = node.set_parameters_atomically
        # ROS's services call this. Only from Iron on would a callback do.
        node.set_parameters_atomically = self._set_as_meant

    @property
    def tree(self) -> T:
        """Return the present values."""
        present, (values, tree) = self._present(), self._built
        if present != values:
            tree = build(present, self._type)
            self._built = present, tree
        return tree

    def _require_known(self, arguments: Sequence[str]) -> None:
        # rclpy keeps overrides of undeclared names to itself, and ignores them without a word.
        overrides = self._node._parameter_overrides
        unknown = [n for n in overrides if n not in self._specs and not n.startswith(_FOREIGN)]
        if not unknown:
            return
        shared = merely_shared(self._node.get_fully_qualified_name(), arguments)
        for name in unknown:
            message = unknown_message(name, list(self._specs))
            if name not in shared:
                raise ConfigError(ErrorCode.CONFIG_INVALID, message)
            self._node.get_logger().warning(
                f'{message}; it is ignored, as a parameter file gives it to nodes of any name'
            )

    def _declare(self, spec: Spec) -> None:
        default = list(spec.default) if isinstance(spec.default, tuple) else spec.default
        overrides = self._node._parameter_overrides
        # Our own check comes first at start, so that every refusal reads the same.
        if spec.name in overrides:
            overrides[spec.name] = _meant(spec, overrides[spec.name])
        try:
            self._node.declare_parameter(spec.name, default, _descriptor(spec))
        except InvalidParameterTypeException as error:
            raise ConfigError(ErrorCode.CONFIG_INVALID, str(error)) from None

    def _set_as_meant(self, parameters: Sequence[Parameter]) -> SetParametersResult:
        # What is wrong is refused by `_check`, as ROS wants it.
        with suppress(ConfigError):
            parameters = [
                _meant(self._specs[p.name], p) if p.name in self._specs else p for p in parameters
            ]
        return self._set_as_given(parameters)

    def _check(self, parameters: Sequence[Parameter]) -> SetParametersResult:
        ours = {p.name: p.value for p in parameters if p.name in self._specs}
        try:
            for name in ours:
                self._require_changeable(self._specs[name])
            build(
                self._present() | {name: _value(value) for name, value in ours.items()}, self._type
            )
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _require_changeable(self, spec: Spec) -> None:
        if spec.fixed_while and self._is_fixed(spec.fixed_while):
            raise ConfigError(
                ErrorCode.CONFIG_INVALID, f'{spec.name} cannot be changed while {spec.fixed_while}'
            )

    def _present(self) -> dict[str, Value]:
        return {name: _value(self._node.get_parameter(name).value) for name in self._specs}


def _meant(spec: Spec, given: Parameter) -> Parameter:
    meant = spec.taken(_value(given.value))
    return Parameter(spec.name, value=list(meant) if isinstance(meant, tuple) else meant)


def _value(value: Any) -> Value:
    return tuple(value) if isinstance(value, list | array.array) else value


def _descriptor(spec: Spec) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(
        description=spec.description, read_only=spec.fixed_while == 'running'
    )
    constraints = []
    if spec.choices:
        constraints.append('one of: ' + ', '.join(spec.choices))
    if spec.fixed_while in ('active', 'configured'):
        constraints.append(f'cannot be changed while {spec.fixed_while}')
    descriptor.additional_constraints = '; '.join(constraints)
    if spec.low is None or spec.high is None or isinstance(spec.default, tuple):
        return descriptor
    if isinstance(spec.default, int):
        bounds = IntegerRange(from_value=int(spec.low), to_value=int(spec.high))
        descriptor.integer_range = [bounds]
    else:
        descriptor.floating_point_range = [
            FloatingPointRange(from_value=float(spec.low), to_value=float(spec.high))
        ]
    return descriptor
