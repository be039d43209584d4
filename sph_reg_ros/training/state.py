"""State of a training as JSON, and whether the training in a folder can be resumed."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sph_reg_ros.errors import ConfigError, ErrorCode, WeightsError
from sph_reg_ros.training import checkpoint
from sph_reg_ros.training.checkpoint import Checkpoint


@dataclass
class State:
    """What changes during a training, beside weights and the optimiser's moments.

    Attributes:
        step: steps done.
        seconds: spent so far.
        accuracy: measured last on held-out X-rays.
        sums: of losses since the last entry of the log.
        count: steps that `sums` are of.
    """

    step: int = 0
    seconds: float = 0.0
    accuracy: dict[str, float] = field(default_factory=dict)
    sums: dict[str, float] = field(default_factory=dict)
    count: int = 0

    def to_json(self, identity: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a checkpoint keeps; `identity` is what must not change until it goes on."""
        return {'identity': dict(identity), 'state': asdict(self)}


def resumed(
    folder: Path, identity: Mapping[str, Any], resume: bool
) -> tuple[State, Checkpoint | None]:
    """Return where the training in a folder is, and its checkpoint; a new one if it has none.

    Raises:
        ConfigError: CONFIG_INVALID if there is a checkpoint and it was not asked to go on, or if
            settings or CTs are not those of the checkpoint.
        WeightsError: the checkpoint cannot be read.
    """
    found = checkpoint.load(folder)
    if found is None:
        return State(), None
    if not resume:
        raise ConfigError(
            ErrorCode.CONFIG_INVALID,
            f'{folder} has a training already: give --resume to go on, or another folder',
        )
    try:
        before, state = found.state['identity'], State(**found.state['state'])
    except (KeyError, TypeError):
        raise WeightsError(
            ErrorCode.WEIGHTS_INVALID, f'{checkpoint.NAME} lacks the state of a training'
        ) from None
    changed = _changes(before, _as_json(identity))
    if changed:
        raise ConfigError(
            ErrorCode.CONFIG_INVALID,
            f'the training in {folder} had other settings ({", ".join(changed)}): '
            'it cannot go on with these',
        )
    return state, found


def _changes(before: Any, now: Any, name: str = '') -> list[str]:
    """Return the dotted names of entries that differ."""
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return [] if before == now else [name]
    changes = []
    for key in sorted(set(before) | set(now)):
        dotted = f'{name}.{key}' if name else key
        changes += _changes(before.get(key), now.get(key), dotted)
    return changes


def _as_json(value: Any) -> Any:
    """Return nested containers with lists for tuples, as JSON gives them back."""
    if isinstance(value, Mapping):
        return {key: _as_json(item) for key, item in value.items()}
    return [_as_json(item) for item in value] if isinstance(value, list | tuple) else value
