"""Runs a reader of files in a process of its own, with limits on memory and time.

Whatever a damaged or hostile file does to its reader, it happens there. Nothing that comes back is
executed or unpickled: a report in JSON and plain arrays, both in memory that is shared by a file
descriptor, checked before they are used.
"""

import json
import math
import mmap
import os
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Shaped

from sph_reg_ros import errors
from sph_reg_ros.errors import ErrorCode, RegistrationError
from sph_reg_ros.files import shared_file

MAX_REPORT_BYTES = 1 << 20
ERROR_KINDS = (
    'CTError', 'ImageError', 'CameraError', 'PoseError', 'BodyError', 'RuntimeUnavailableError',
)  # fmt: skip
ARRAY_TYPES = ('<i2', '<i8', '<f4', '<f8', '|b1')
GIBIBYTE = 1 << 30
ALIGNMENT = 64
"""Each array begins at a multiple of as many bytes."""


@dataclass(frozen=True)
class Limits:
    """What a child may use.

    Attributes:
        memory_bytes: address space; programs and libraries take about 2 GiB of it, torch 8 GiB.
        cpu_s: processor time.
        timeout_s: time on the clock, for a machine that has other things to do.
    """

    memory_bytes: int
    cpu_s: int
    timeout_s: float

    @classmethod
    def for_input(cls, input_bytes: int, files: int, base_bytes: int, base_s: int = 10) -> 'Limits':
        """Return what sound files of this size need, with much to spare.

        Decompressing CTs takes 0.1 us of processor time a byte of the file, its volume a few bytes
        a byte.
        """
        cpu_s = base_s + math.ceil(4e-7 * input_bytes + 0.02 * files)
        return cls(base_bytes + 10 * input_bytes, cpu_s, 60 + 6 * cpu_s)


class ChildError(Exception):
    """The child did not come to an end that it could report; the text says why."""


@dataclass(frozen=True)
class Report:
    """What a child found: plain values, and arrays."""

    values: dict[str, Any]
    arrays: tuple[Shaped[np.ndarray, '...'], ...]


def run_child(task: str, arguments: dict[str, Any], limits: Limits) -> Report:
    """Carry out a task of child.TASKS in a process of its own.

    Raises:
        RegistrationError: what the task raised.
        ChildError: it crashed, or needed more than it may have.
    """
    with shared_file() as report, shared_file() as arrays:
        request = {'task': task, 'arguments': arguments, 'limits': asdict(limits)}
        os.pwrite(report, json.dumps(request).encode(), 0)
        _run([report, arrays], limits)
        values = _read_report(report)
        return Report(values, _map_arrays(arrays, values.pop('arrays')))


def _run(descriptors: list[int], limits: Limits) -> None:
    # What the child says aloud may quote the file, and so the patient.
    silent = subprocess.DEVNULL
    threads = dict.fromkeys(('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS'), '1')
    # The package may be importable only by a path that this process added for itself.
    paths = {'PYTHONPATH': os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, '-m', 'sph_reg_ros.imaging.sandbox.child', *map(str, descriptors)]
    with subprocess.Popen(
        command,
        stdin=silent,
        stdout=silent,
        stderr=silent,
        pass_fds=descriptors,
        env=os.environ | threads | paths,
    ) as process:
        try:
            code = process.wait(limits.timeout_s)
        except subprocess.TimeoutExpired:
            raise ChildError(f'reading took longer than {limits.timeout_s:.0f} s') from None
        finally:
            process.kill()
    if code == -signal.SIGXCPU:
        raise ChildError(f'reading took more than {limits.cpu_s} s of processor time')
    if code:
        raise ChildError(f'reading crashed (exit code {code})')


def _read_report(descriptor: int) -> dict[str, Any]:
    size = os.fstat(descriptor).st_size
    if size > MAX_REPORT_BYTES:
        raise ChildError(f'the reader reported {size} bytes')
    try:
        values = json.loads(os.pread(descriptor, size, 0))
        error = values.pop('error', None)
        if error is None and 'arrays' in values:
            return values
        kind, code, message = error
        if kind not in ERROR_KINDS:
            raise ChildError('the reader failed')
        raise _error(kind, ErrorCode(code), str(message))
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise ChildError('the reader reported nonsense') from None


def _error(kind: str, code: ErrorCode, message: str) -> RegistrationError:
    error: RegistrationError = getattr(errors, kind)(code, message)
    return error


def _map_arrays(
    descriptor: int, described: list[list[Any]]
) -> tuple[Shaped[np.ndarray, '...'], ...]:
    size = os.fstat(descriptor).st_size
    # Private: the child is gone, and nobody else has the file.
    memory = mmap.mmap(descriptor, size, access=mmap.ACCESS_COPY) if size else b''
    arrays, start = [], 0
    try:
        for kind, shape in described:
            if kind not in ARRAY_TYPES or not all(type(n) is int and n >= 0 for n in shape):
                raise ValueError
            array = np.frombuffer(memory, kind, math.prod(shape), start).reshape(shape)
            arrays.append(array)
            start += -(-array.nbytes // ALIGNMENT) * ALIGNMENT
    except (ValueError, TypeError):
        raise ChildError('the reader reported nonsense') from None
    return tuple(arrays)
