"""The log of a training: one line of JSON for each entry, and TensorBoard's files."""

import json
from collections.abc import Mapping
from pathlib import Path

NAME, FOLDER = 'history.jsonl', 'log'


class History:
    """Writes the log of a training; one that goes on forgets what came after its checkpoint."""

    def __init__(self, folder: Path, first_step: int) -> None:
        """Go on after `first_step` steps, in a folder that exists; raises OSError."""
        # Imported lazily: it takes seconds.
        from torch.utils.tensorboard import SummaryWriter

        self._path = folder / NAME
        kept = [entry for entry in read(folder) if entry['step'] <= first_step]
        self._path.write_text(''.join(f'{json.dumps(entry)}\n' for entry in kept), 'utf-8')
        purge = first_step + 1 if first_step > 0 else None
        self._board = SummaryWriter(str(folder / FOLDER), purge_step=purge)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Write values of a step, counted from 1."""
        with self._path.open('a', encoding='utf-8') as file:
            file.write(json.dumps({'step': step, **values}) + '\n')
        for name, value in values.items():
            self._board.add_scalar(name, value, step)
        self._board.flush()

    def close(self) -> None:
        """Close TensorBoard's file."""
        self._board.close()


def read(folder: Path) -> list[dict[str, float]]:
    """Return all entries; a last line that a kill has cut off is left out."""
    path = folder / NAME
    if not path.is_file():
        return []
    entries = []
    for line in path.read_text('utf-8').splitlines():
        try:
            entries.append(dict(json.loads(line)))
        except ValueError:
            break
    return entries
