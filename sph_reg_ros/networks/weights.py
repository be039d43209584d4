"""Weights of networks: safetensors files with a JSON card beside them.

safetensors holds numbers only: nothing in such a file can run when it is read.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sph_reg_ros.errors import ErrorCode, WeightsError

MAX_HEADER_BYTES = 100_000_000
"""Limit of the safetensors format for its JSON header."""


@dataclass(frozen=True)
class Weights:
    """A checked weights file.

    Attributes:
        path: the .safetensors file.
        card: content of the .json file beside it: what the weights are for.
        tensors: names of the tensors in the file.
    """

    path: Path
    card: dict[str, Any]
    tensors: tuple[str, ...]


def read_weights(path: Path) -> Weights:
    """Check a weights file and its card, without loading the tensors.

    Raises:
        WeightsError: WEIGHTS_MISSING if the file or its card is not there, WEIGHTS_INVALID if one
            of them is not what its suffix says.
    """
    path = Path(path)
    if path.suffix != '.safetensors':
        raise WeightsError(
            ErrorCode.WEIGHTS_INVALID,
            f'weights must be a .safetensors file, not {path.suffix or "a file without suffix"}',
        )
    card_path = path.with_suffix('.json')
    for needed in (path, card_path):
        if not needed.is_file():
            raise WeightsError(ErrorCode.WEIGHTS_MISSING, f'no such file: {needed}')
    header = _read_header(path)
    tensors = tuple(name for name in header if name != '__metadata__')
    return Weights(path, _parse_object(card_path.read_bytes(), card_path.name), tensors)


def _read_header(path: Path) -> dict[str, Any]:
    with path.open('rb') as file:
        size = int.from_bytes(file.read(8), 'little')
        if size > MAX_HEADER_BYTES:
            raise _invalid(path.name, f'its header claims {size} bytes')
        header = file.read(size)
    if len(header) != size or size == 0:
        raise _invalid(path.name, 'it is cut off')
    return _parse_object(header, path.name)


def _parse_object(data: bytes, name: str) -> dict[str, Any]:
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        raise _invalid(name, 'it is not valid JSON') from None
    if not isinstance(content, dict):
        raise _invalid(name, 'it holds no JSON object')
    return content


def _invalid(name: str, reason: str) -> WeightsError:
    return WeightsError(
        ErrorCode.WEIGHTS_INVALID, f'{name} cannot be used: {reason}; get the file again'
    )
