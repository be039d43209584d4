"""Files written together or not at all, files in memory, and JSON without NaN."""

import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def write_together(contents: dict[Path, bytes], mode: int = 0o600) -> None:
    """Write all files or none: under other names first, so that none is ever half-written.

    Args:
        contents: what each file shall hold; their folders exist.
        mode: permissions; for the owner only by default.

    Raises:
        OSError: a file cannot be written.
    """
    written: dict[Path, str] = {}
    try:
        for path, content in contents.items():
            handle, written[path] = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name}.')
            with os.fdopen(handle, 'wb') as file:
                file.write(content)
            os.chmod(written[path], mode)
        for path in contents:
            os.replace(written[path], path)
            del written[path]
    finally:
        for leftover in written.values():
            Path(leftover).unlink(missing_ok=True)


@contextmanager
def shared_file() -> Iterator[int]:
    """Yield the descriptor of an empty file that is in memory, where the system has such files."""
    if hasattr(os, 'memfd_create'):
        descriptor = os.memfd_create('sph_reg_ros')
        try:
            yield descriptor
        finally:
            os.close(descriptor)
    else:
        with tempfile.TemporaryFile() as file:
            yield file.fileno()


def without_nan(value: Any) -> Any:
    """Return nested containers with null for NaN and infinity, which JSON has no word for."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
