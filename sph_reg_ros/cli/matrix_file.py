"""Small YAML or JSON files with matrices."""

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import yaml
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.errors import ErrorCode, RegistrationError

LARGEST_FILE = 1_000_000
"""Bytes; a larger file is something else given by mistake."""


@contextmanager
def reading(
    path: Path, kind: type[RegistrationError], absent: ErrorCode, invalid: ErrorCode, formats: str
) -> Iterator[None]:
    """Turn what goes wrong with a file into a typed error that names it.

    Args:
        path: of the file.
        kind: of the error.
        absent: its code if the file cannot be read.
        invalid: its code if it holds something else.
        formats: what it should hold.
    """
    try:
        yield
    except OSError as error:
        raise kind(absent, f'{path.name} cannot be read: {error.strerror}') from None
    except ValueError as error:
        raise kind(invalid, f'{path.name}: {error}; {formats}') from None


def read_mapping(path: Path) -> dict[str, Any]:
    """Return the keys and values of a YAML or JSON file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no YAML or JSON with keys; says what it is.
    """
    return mapping_of(read_text(path))


def read_text(path: Path) -> str:
    """Return what a small file holds.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is too large, or no text.
    """
    if path.stat().st_size > LARGEST_FILE:
        raise ValueError(f'it has {path.stat().st_size} bytes')
    return path.read_text(encoding='utf-8')


def mapping_of(text: str) -> dict[str, Any]:
    """Return the keys and values of YAML or JSON; raises ValueError if it is something else."""
    content = content_of(text)
    if not isinstance(content, dict):
        raise ValueError('it has no keys')
    return content


def content_of(text: str) -> Any:
    """Return what YAML or JSON holds; raises ValueError if it is something else."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError('it is neither YAML nor JSON') from None
    except ValueError:
        pass
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError):
        raise ValueError('it is neither YAML nor JSON') from None


def matrix(value: Any, rows: int, columns: int) -> Float64[Tensor, 'rows columns']:
    """Return numbers given as nested rows, as one row-major list, or as ROS's rows, cols, data.

    Raises:
        ValueError: the numbers are not finite, not numbers, or not as many.
    """
    if isinstance(value, dict):
        if (value.get('rows'), value.get('cols')) != (rows, columns):
            raise ValueError(f'rows and cols must be {rows} and {columns}')
        value = value.get('data')
    numbers = numbers_of(value)
    nested = isinstance(value, list) and any(isinstance(row, list) for row in value)
    if len(numbers) != rows * columns or (nested and len(value) != rows):
        raise ValueError(f'{len(numbers)} numbers instead of {rows} x {columns}')
    return torch.tensor(numbers, dtype=torch.float64).reshape(rows, columns)


def numbers_of(value: Any) -> list[float]:
    """Return the numbers of a list, or of a list of lists of equal length; raises ValueError."""
    if not isinstance(value, list):
        raise ValueError('a list of numbers is missing')
    if any(isinstance(item, list) for item in value):
        rows = [numbers_of(item) for item in value]
        if len({len(row) for row in rows}) > 1:
            raise ValueError('rows of different length')
        return [number for row in rows for number in row]
    return [number_of(item) for item in value]


def number_of(value: Any) -> float:
    """Return a finite number; raises ValueError."""
    # YAML 1.1 takes 1e-05, as JSON writers put it, for text.
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f'{value!r} is no number')
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f'{value} is not finite')
    return number


def is_sequence_of_matrices(value: Any) -> bool:
    """Return whether these are lists of lists of lists."""

    def first(item: Any) -> Any:
        return item[0] if isinstance(item, Sequence) and item else None

    return isinstance(value, list) and isinstance(first(first(value)), list)
