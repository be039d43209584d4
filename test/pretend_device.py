"""A device that is none: CPU tensors that behave as if they lay on an accelerator.

Torch says 'pretend' for their device and refuses what it refuses on a GPU: operations on tensors
of two devices, `numpy()`. What a GPU would make Python wait for is counted. The numbers are
computed on the CPU, so that whole registrations run; back-propagation does not.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from traceback import extract_stack
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode

NAME = 'pretend'
SETUP = '_setup_privateuseone_for_python_backend'
IS_SUPPORTED = hasattr(backend_registration, SETUP)
"""Older versions of torch know no such devices."""
NEEDS_THE_SIZE = ('aten::nonzero', 'aten::masked_select', 'aten::_unique2', 'aten::unique_dim')
"""Operations whose result has a size that only the device knows."""
READS = (
    'aten::_local_scalar_dense',
    'aten::equal',
    'aten::_linalg_check_errors',
    *NEEDS_THE_SIZE,
)
COPIES = ('aten::_to_copy', 'aten::copy_')


@dataclass
class Traffic:
    """What would have made Python wait for the device, by the line of code that did it.

    Attributes:
        reads: numbers that Python asked for, and results whose size it had to know.
        to_host: tensors that were copied from the device.
        to_device: tensors that were copied to it.
        operations: calls of torch on the device.
    """

    reads: Counter[str] = field(default_factory=Counter)
    to_host: Counter[str] = field(default_factory=Counter)
    to_device: Counter[str] = field(default_factory=Counter)
    operations: int = 0

    def __str__(self) -> str:
        """Return all lines, the busiest first."""
        parts = []
        for name in ('reads', 'to_host', 'to_device'):
            lines = getattr(self, name).most_common()
            parts.append(f'{name}: {sum(count for _, count in lines)}')
            parts += [f'  {count:5d} {line}' for line, count in lines]
        return '\n'.join([*parts, f'operations: {self.operations}'])


class OnDevice(torch.Tensor):
    """A tensor of the CPU that says that it lies on the device."""

    host: torch.Tensor

    @staticmethod
    def __new__(cls, host: torch.Tensor) -> 'OnDevice':
        """Wrap a tensor."""
        wrapped: OnDevice = torch.Tensor._make_wrapper_subclass(
            cls,
            host.size(),
            strides=host.stride(),
            storage_offset=host.storage_offset(),
            dtype=host.dtype,
            device=torch.device(NAME, 0),
            requires_grad=host.requires_grad,
        )
        wrapped.host = host
        return wrapped

    def __repr__(self) -> str:
        """Return the numbers and where they are."""
        return f'{self.host} on {NAME}'

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Sequence[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run an operation outside of `pretend_device`."""
        return _run(func, args, kwargs or {}, Traffic())


def on_host(value: Any) -> Any:
    """Return a tensor as the CPU has it, without counting."""
    return value.host if isinstance(value, OnDevice) else value


@contextmanager
def pretend_device() -> Iterator[Traffic]:
    """Make `tensor.to('pretend')` work, and count what goes to the device and back."""
    if not hasattr(torch, NAME):
        getattr(backend_registration, SETUP)(NAME)
    traffic = Traffic()
    with _Functions(traffic), _Operations(traffic):
        yield traffic


class _Operations(TorchDispatchMode):
    def __init__(self, traffic: Traffic) -> None:
        super().__init__()
        self._traffic = traffic

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {}, self._traffic)


class _Functions(TorchFunctionMode):
    """Redirects the functions of Python whose work torch does not show to a dispatch mode."""

    def __init__(self, traffic: Traffic) -> None:
        super().__init__()
        self._traffic = traffic

    def __torch_function__(
        self, func: Callable, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func in (torch.tensor, torch.as_tensor) and _is_device(kwargs.get('device')):
            device = kwargs.pop('device')
            return func(*args, **kwargs).to(device)
        if func is torch.Tensor.new_tensor and isinstance(args[0], OnDevice):
            kwargs.setdefault('dtype', args[0].dtype)
            return torch.tensor(args[1], **kwargs).to(args[0].device)
        if func in (torch.Tensor.__getitem__, torch.Tensor.__setitem__):
            args = (
                args[0],
                pytree.tree_map(_index_for(args[0]), _with_tensors(args[1])),
                *args[2:],
            )
        if func.__name__ in ('__matmul__', 'matmul') and [a.ndim for a in args] == [1, 2]:
            # Torch changes the shape of the product in place, unseen by its wrapper.
            return torch.mv(args[1].T, args[0])
        if func is torch.Tensor.tolist and isinstance(args[0], OnDevice):
            self._traffic.reads[_line_of_code()] += 1
            return args[0].host.tolist()
        return func(*args, **kwargs)


def _with_tensors(index: Any) -> Any:
    """Return an index with its lists as tensors, which torch makes of them itself."""
    if isinstance(index, tuple):
        return tuple(_with_tensors(part) for part in index)
    return torch.tensor(index, dtype=torch.long) if isinstance(index, list) else index


def _index_for(target: Any) -> Callable[[Any], Any]:
    """Return what moves an index to where a tensor lies, as torch does, at the price of a copy."""

    def move(index: Any) -> Any:
        if isinstance(index, torch.Tensor) and index.ndim and isinstance(target, OnDevice):
            return index.to(target.device)
        return index

    return move


def _is_device(device: Any) -> bool:
    return device is not None and torch.device(device).type == NAME


def _run(func: Any, args: Any, kwargs: Any, traffic: Traffic) -> Any:
    name = func.name().split('.')[0]
    tensors = [v for v in pytree.tree_leaves((args, kwargs)) if isinstance(v, torch.Tensor)]
    wrapped = [tensor for tensor in tensors if isinstance(tensor, OnDevice)]
    goes_to = kwargs.get('device')
    target = _is_device(goes_to) if goes_to is not None else bool(wrapped)
    if name == 'aten::copy_':
        target = isinstance(args[0], OnDevice)
    if name in COPIES:
        _count_copy(tensors, target, name, traffic)
    elif wrapped:
        _refuse_other_devices(name, tensors)
        traffic.operations += 1
        if name in READS:
            traffic.reads[_line_of_code()] += 1
        if name in ('aten::index', 'aten::index_put_', 'aten::_index_put_impl_'):
            masks = [t for t in tensors[1:] if t.dtype == torch.bool and t.ndim > 0]
            if masks and not (name != 'aten::index' and tensors[-1].ndim == 0):
                traffic.reads[_line_of_code()] += 1
    host_args, host_kwargs = pytree.tree_map(on_host, (args, kwargs))
    if _is_device(goes_to):
        host_kwargs = {**host_kwargs, 'device': torch.device('cpu')}
    result = func(*host_args, **host_kwargs)
    known = {id(tensor.host): tensor for tensor in wrapped}

    def placed(value: Any) -> Any:
        if not target or not isinstance(value, torch.Tensor) or isinstance(value, OnDevice):
            return value
        # What was changed in place stays the same object.
        return known[id(value)] if id(value) in known else OnDevice(value)

    return pytree.tree_map(placed, result)


def _count_copy(
    tensors: Sequence[torch.Tensor], to_device: bool, name: str, traffic: Traffic
) -> None:
    source = isinstance(tensors[1 if name == 'aten::copy_' else 0], OnDevice)
    if source != to_device:
        (traffic.to_device if to_device else traffic.to_host)[_line_of_code()] += 1


def _refuse_other_devices(name: str, tensors: Sequence[torch.Tensor]) -> None:
    strangers = [t for t in tensors if not isinstance(t, OnDevice) and t.ndim > 0]
    # Torch moves the indices of an indexing itself, by a copy that waits.
    if strangers:
        raise RuntimeError(f'{name}: expected all tensors to be on the same device')


def _line_of_code() -> str:
    """Return the innermost line that is neither torch's nor this file's."""
    for frame in reversed(extract_stack(limit=60)):
        if '/torch/' not in frame.filename and frame.filename != __file__:
            place = frame.filename.rpartition('sph_reg_ros/')[2]
            return f'{place}:{frame.lineno} {frame.line}'
    return 'unknown'
