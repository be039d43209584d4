"""The process that reads files: `python -m sph_reg_ros.imaging.sandbox.child REPORT_FD ARRAYS_FD`.

See child_process for the other side. The imports are inside of the tasks: reading a CT needs no
torch, which would take longer to import than most CTs take to read.
"""

import json
import math
import mmap
import os
import resource
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Shaped

from sph_reg_ros.errors import RegistrationError
from sph_reg_ros.imaging.ct.volume import CT
from sph_reg_ros.imaging.sandbox.child_process import ALIGNMENT

Found = tuple[dict[str, Any], list[Shaped[np.ndarray, '...']]]


class SharedArrays:
    """Puts arrays where the other process reads them.

    The largest one is written there from the start, so that there are never two of it.
    """

    def __init__(self, descriptor: int) -> None:
        """Take an empty file."""
        self._descriptor = descriptor
        self._reserved: np.ndarray = np.empty(0)

    def empty(self, shape: tuple[int, ...], dtype: type[np.float32]) -> Float32[np.ndarray, '...']:
        """Reserve memory at the beginning of the file; raises MemoryError."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        try:
            os.ftruncate(self._descriptor, size)
            memory = mmap.mmap(self._descriptor, size)
        except (OSError, ValueError):
            raise MemoryError from None
        self._reserved = np.frombuffer(memory, dtype).reshape(shape)
        return self._reserved

    def write(self, found: list[Shaped[np.ndarray, '...']]) -> list[list[Any]]:
        """Write arrays one after the other, each from where its type may begin.

        An array in the reserved memory comes first, and is there already.

        Returns:
            Type and shape of each.
        """
        described, end = [], 0
        for array in found:
            little = np.ascontiguousarray(array.astype(array.dtype.newbyteorder('<'), copy=False))
            if not np.may_share_memory(little, self._reserved):
                with open(self._descriptor, 'r+b', closefd=False) as file:
                    file.seek(end)
                    file.write(little.data)
            described.append([little.dtype.str, list(little.shape)])
            end += -(-little.nbytes // ALIGNMENT) * ALIGNMENT
        os.ftruncate(self._descriptor, end)
        return described


def load_ct(shared: SharedArrays, path: str, series_uid: str | None) -> Found:
    """Read a CT series; see ct.read."""
    from sph_reg_ros.imaging.ct import read

    return _found_ct(read.parse_ct(Path(path), series_uid=series_uid, empty=shared.empty))


def load_volume_file(shared: SharedArrays, path: str, assume_lps: bool) -> Found:
    """Read a CT from one file; see ct.read."""
    from sph_reg_ros.imaging.ct.volume_file import load_volume_file

    return _found_ct(load_volume_file(Path(path), assume_lps=assume_lps, empty=shared.empty))


def _found_ct(found: CT) -> Found:
    names = ('series_uid_hash', 'patient_hash', 'description', 'assumptions')
    values = {name: getattr(found, name) for name in names}
    return values, [found.hounsfield, found.ct_from_index]


def list_series(shared: SharedArrays, path: str) -> Found:
    """List the series of a folder; see ct.read."""
    from sph_reg_ros.imaging.ct import read

    return {'series': [asdict(info) for info in read.parse_series(Path(path))]}, []


def load_xray(
    shared: SharedArrays, path: str, frame: int, geometry: bool, given: dict[str, Any]
) -> Found:
    """Read a projection image; see dicom_xray.read_dicom_xray."""
    from sph_reg_ros.imaging.xray.dicom_xray import read_dicom_xray
    from sph_reg_ros.imaging.xray.given_geometry import GivenGeometry

    stated = GivenGeometry(**given)
    found = read_dicom_xray(Path(path), frame, geometry=geometry, given=stated)
    values = {
        'patient_hash': found.patient_hash,
        'intensity': asdict(found.intensity),
        'warnings': found.warnings,
        'has_camera': found.camera is not None,
        'has_pose': found.camera_from_ct is not None,
    }
    arrays = [found.pixels.numpy(), found.mask.numpy()]
    matrices = (None if found.camera is None else found.camera.K, found.camera_from_ct)
    return values, [m.numpy() for m in matrices if m is not None] + arrays


def load_localizers(shared: SharedArrays, path: str, series_uid: str | None) -> Found:
    """Read the localizers of a CT study; see ct.localizer."""
    from sph_reg_ros.imaging.ct.localizer import parse_localizers

    found, left_out = parse_localizers(Path(path), series_uid)
    values, arrays = [], []
    for localizer in found:
        fields = vars(localizer)
        arrays += [value for value in fields.values() if isinstance(value, np.ndarray)]
        values.append({k: v for k, v in fields.items() if not isinstance(v, np.ndarray)})
    return {'localizers': values, 'left_out': left_out}, arrays


def load_labels(shared: SharedArrays, path: str) -> Found:
    """Read a label map; see bodies.labels."""
    from sph_reg_ros.imaging.bodies.labels import parse_labels

    found = parse_labels(Path(path), shared.empty)
    names = [[number, name] for number, name in found.names.items()]
    return {'names': names}, [found.labels, found.lps_from_index]


def load_mesh(shared: SharedArrays, path: str, unit: str, voxel_mm: float) -> Found:
    """Read a mesh and voxelise it, which may take for ever; see bodies.mesh and voxelise."""
    from sph_reg_ros.imaging.bodies.mesh import parse_mesh
    from sph_reg_ros.imaging.bodies.voxelise import coverage_of

    found = parse_mesh(Path(path), unit)
    return {'notes': found.notes}, [found.vertices, found.faces, *coverage_of(found, voxel_mm)]


TASKS: dict[str, Callable[..., Found]] = {
    'load_ct': load_ct,
    'load_volume_file': load_volume_file,
    'list_series': list_series,
    'load_xray': load_xray,
    'load_localizers': load_localizers,
    'load_labels': load_labels,
    'load_mesh': load_mesh,
}


def main() -> None:
    """Read the request, carry it out, leave the report in its place."""
    report, arrays = (int(argument) for argument in sys.argv[1:])
    request = json.loads(os.pread(report, os.fstat(report).st_size, 0))
    set_limits(**request['limits'])
    shared = SharedArrays(arrays)
    try:
        values, found = TASKS[request['task']](shared, **request['arguments'])
        values['arrays'] = shared.write(found)
    except RegistrationError as error:
        values = {'error': [type(error).__name__, int(error.code), str(error)]}
    os.ftruncate(report, 0)
    os.pwrite(report, json.dumps(values).encode(), 0)
    # Closing libraries down takes time, and has nothing to do.
    os._exit(0)


def set_limits(memory_bytes: int, cpu_s: int, timeout_s: float) -> None:
    """Limit this process for good; the clock is watched by the one that started it."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))
    # A core dump would hold the patient's data.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == '__main__':
    main()
