"""The node's parameters: declared from the tree, checked by the tree, given back as the tree."""

import array
from collections.abc import Callable, Sequence
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
from sph_reg_ros.ros.parameter_tree import Spec, Value, build, specs, unknown_message

T = TypeVar('T')

# Names that rclpy itself declares or reads.
_FOREIGN = ('use_sim_time', 'start_type_description_service', 'qos_overrides.')


class ParameterServer(Generic[T]):
    """Declares every parameter on a node and keeps the tree in step with what is set."""

    def __init__(self, node: Node, is_fixed: Callable[[str], bool], tree: type[T]) -> None:
        """Declare, with values from files and the command line.

        Args:
            node: where to declare.
            is_fixed: tells whether a value of Spec.fixed_while holds now.
            tree: dataclass that says what to declare.

        Raises:
            ConfigError: a given name is unknown, or a value is wrong.
        """
        self._node = node
        self._is_fixed = is_fixed
        self._type = tree
        self._specs = specs(tree)
        self._refuse_unknown()
        for spec in self._specs.values():
            self._declare(spec)
        build(self._values({}), tree)
        node.add_on_set_parameters_callback(self._check)

    @property
    def tree(self) -> T:
        """Return the present values."""
        return build(self._values({}), self._type)

    def _refuse_unknown(self) -> None:
        # rclpy keeps overrides of undeclared names to itself, and ignores them without a word.
        for name in self._node._parameter_overrides:
            if name not in self._specs and not name.startswith(_FOREIGN):
                raise ConfigError(
                    ErrorCode.CONFIG_INVALID, unknown_message(name, list(self._specs))
                )

    def _declare(self, spec: Spec) -> None:
        default = list(spec.default) if isinstance(spec.default, tuple) else spec.default
        # Our own check comes first at start, so that every refusal reads the same.
        override = self._node._parameter_overrides.get(spec.name)
        if override is not None:
            spec.check(_value(override.value))
        try:
            self._node.declare_parameter(spec.name, default, _descriptor(spec))
        except InvalidParameterTypeException as error:
            raise ConfigError(ErrorCode.CONFIG_INVALID, str(error)) from None

    def _check(self, parameters: Sequence[Parameter]) -> SetParametersResult:
        ours = {p.name: p.value for p in parameters if p.name in self._specs}
        try:
            for name in ours:
                self._require_changeable(self._specs[name])
            build(self._values(ours), self._type)
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _require_changeable(self, spec: Spec) -> None:
        if spec.fixed_while and self._is_fixed(spec.fixed_while):
            raise ConfigError(
                ErrorCode.CONFIG_INVALID, f'{spec.name} cannot be changed while {spec.fixed_while}'
            )

    def _values(self, changes: dict[str, Any]) -> dict[str, Value]:
        present = {name: self._node.get_parameter(name).value for name in self._specs}
        return {name: _value(value) for name, value in (present | changes).items()}


def _value(value: Any) -> Value:
    return tuple(value) if isinstance(value, list | array.array) else value


def _descriptor(spec: Spec) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(
        description=spec.description, read_only=spec.fixed_while == 'running'
    )
    if spec.choices:
        descriptor.additional_constraints = 'one of: ' + ', '.join(spec.choices)
    elif spec.fixed_while in ('active', 'configured'):
        descriptor.additional_constraints = f'cannot be changed while {spec.fixed_while}'
    if spec.low is None or spec.high is None:
        return descriptor
    if isinstance(spec.default, int):
        bounds = IntegerRange(from_value=int(spec.low), to_value=int(spec.high))
        descriptor.integer_range = [bounds]
    else:
        descriptor.floating_point_range = [
            FloatingPointRange(from_value=float(spec.low), to_value=float(spec.high))
        ]
    return descriptor
