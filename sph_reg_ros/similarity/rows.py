"""Functions of all the tensors in dataclasses."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from torch import Tensor


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
