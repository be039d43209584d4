"""Functions of all the tensors in dataclasses."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

T = TypeVar('T')


def by_tensor(function: Callable[..., Tensor], *parts: Any) -> Any:
    """Return a dataclass of what a function makes of the tensors that stand in the same place.

    Args:
        function: of one tensor of each part.
        parts: dataclasses of one type, of tensors and of such dataclasses; None stays None.
    """
    first = parts[0]
    if first is None:
        return None
    if isinstance(first, Tensor):
        return function(*parts)
    names = [entry.name for entry in fields(first)]
    columns = ([getattr(part, name) for part in parts] for name in names)
    return type(first)(*(by_tensor(function, *column) for column in columns))


def on_device(part: T, device: torch.device) -> T:
    """Return a copy of an object of this package with all tensors in it on a device."""
    if isinstance(part, Tensor):
        return cast(T, part.to(device))
    if isinstance(part, tuple | list):
        return type(part)(on_device(each, device) for each in part)
    if not type(part).__module__.startswith('sph_reg_ros.similarity'):
        return part
    copy = object.__new__(type(part))
    copy.__dict__.update({name: on_device(value, device) for name, value in vars(part).items()})
    return copy


def on_host(figures: T) -> T:
    """Return a dataclass with its tensors on the CPU, by a single copy, for which Python waits."""
    tensors: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        tensors.append(tensor)
        return tensor

    by_tensor(note, figures)
    if all(tensor.device.type == 'cpu' for tensor in tensors):
        return figures
    packed = torch.cat([tensor.double().flatten() for tensor in tensors]).cpu()
    parts = iter(packed.split([tensor.numel() for tensor in tensors]))
    moved: T = by_tensor(lambda old: next(parts).reshape(old.shape).to(old.dtype), figures)
    return moved
