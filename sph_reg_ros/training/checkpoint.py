"""Checkpoints: all that a resumed training needs, in one safetensors file.

Tensors hold weights and the optimiser's moments, the header's text holds the rest as JSON: nothing
in the file can run when it is read. It is replaced in one step, so that a kill at any time leaves
the old one or the new one.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sph_reg_ros.errors import ErrorCode, WeightsError
from sph_reg_ros.files import write_together

NAME = 'checkpoint.safetensors'
_WEIGHTS, _MOMENTS, _STATE = 'weights.', 'optimiser.', 'training'
_READABLE = 0o644


@dataclass(frozen=True)
class Checkpoint:
    """What was read.

    Attributes:
        tensors: by their name in the file.
        state: what `save` was given.
    """

    tensors: dict[str, Tensor]
    state: dict[str, Any]

    def restore(self, module: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        """Fill weights and moments in; raises WeightsError if they are not for this network."""
        weights = self._named(_WEIGHTS)
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in self._named(_MOMENTS).items():
            number, _, key = name.partition('.')
            moments.setdefault(int(number), {})[key] = value
        groups = optimiser.state_dict()['param_groups']
        try:
            module.load_state_dict(weights)
            optimiser.load_state_dict({'state': moments, 'param_groups': groups})
        except (RuntimeError, ValueError) as error:
            raise _invalid(f'it is of another network: {error}') from None

    def _named(self, prefix: str) -> dict[str, Tensor]:
        return {
            name.removeprefix(prefix): value
            for name, value in self.tensors.items()
            if name.startswith(prefix)
        }


def save(
    folder: Path, module: nn.Module, optimiser: torch.optim.Optimizer, state: dict[str, Any]
) -> None:
    """Write a checkpoint into a folder that exists; raises OSError.

    Args:
        folder: where; the last one is replaced.
        module: its weights and buffers.
        optimiser: its moments.
        state: what JSON can hold.
    """
    from safetensors.torch import save as to_bytes

    tensors = {_WEIGHTS + name: value for name, value in module.state_dict().items()}
    for number, moments in optimiser.state_dict()['state'].items():
        for key, value in moments.items():
            tensors[f'{_MOMENTS}{number}.{key}'] = torch.as_tensor(value)
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    data = to_bytes(tensors, {_STATE: json.dumps(state)})
    write_together({folder / NAME: data}, _READABLE)


def load(folder: Path) -> Checkpoint | None:
    """Return the checkpoint of a folder, None if it has none; raises WeightsError."""
    from safetensors import SafetensorError, safe_open

    path = folder / NAME
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework='pt') as file:
            state = json.loads((file.metadata() or {})[_STATE])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, KeyError) as error:
        raise _invalid(str(error)) from None
    if not isinstance(state, dict):
        raise _invalid('its header holds no object')
    return Checkpoint(tensors, state)


def _invalid(reason: str) -> WeightsError:
    return WeightsError(
        ErrorCode.WEIGHTS_INVALID, f'{NAME} cannot be used: {reason}; train into another folder'
    )
