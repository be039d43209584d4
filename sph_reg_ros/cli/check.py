"""Checks of the installation: `sph-reg check`."""

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from sph_reg_ros import __version__
from sph_reg_ros.cli.ct_info import hounsfield_text
from sph_reg_ros.cli.ros_check import ros_lines
from sph_reg_ros.cli.status_line import StatusLine, broken, fine, note
from sph_reg_ros.errors import CTError
from sph_reg_ros.imaging.load import load_ct
from sph_reg_ros.imaging.sample_ct import sample_ct_path

REQUIRED = ('torch', 'numba', 'numpy', 'SimpleITK', 'pydicom', 'transforms3d', 'jaxtyping')


def check_lines(ct_path: Path | None) -> list[StatusLine]:
    """Return one line per check.

    Args:
        ct_path: CT to read; the sample CT, if it is installed, for None.
    """
    return [
        fine('sph_reg_ros', __version__),
        fine('Python', f'{platform.python_version()} ({sys.executable})'),
        *(package_line(name) for name in REQUIRED),
        device_line(),
        numba_line(),
        *ros_lines(),
        ct_line(ct_path),
    ]


def package_line(name: str) -> StatusLine:
    """Report the installed version of a required package."""
    try:
        return fine(name, version(name))
    except PackageNotFoundError:
        return broken(name, f'not installed: pip install {name}')


def device_line() -> StatusLine:
    """Report the device that torch computes on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    cpu = f'CPU, {torch.get_num_threads()} threads, {cores} cores'
    if not torch.cuda.is_available():
        return fine('device', cpu)
    return fine('device', f'CUDA {torch.version.cuda}, {torch.cuda.get_device_name()}; {cpu}')


def numba_line() -> StatusLine:
    """Compile a function, as the default renderer will."""
    try:
        import numba

        doubled = numba.njit(lambda number: 2 * number)(21)
    except Exception as error:  # a mismatch with NumPy or LLVM fails in many ways
        return broken('compiler', f'numba cannot compile: {type(error).__name__}: {error}')
    return fine('compiler', 'numba compiles') if doubled == 42 else broken('compiler', 'numba errs')


def ct_line(path: Path | None) -> StatusLine:
    """Read a CT and describe it."""
    name = 'CT' if path else 'sample CT'
    try:
        path = path or sample_ct_path()
    except CTError as error:
        return note(name, str(error))
    try:
        ct = load_ct(path)
    except CTError as error:
        return broken(name, f'{error.code.name}: {error}')
    size = ' x '.join(map(str, ct.hounsfield.shape[::-1]))
    spacing = ' x '.join(f'{mm:.4g}' for mm in ct.spacing_mm)
    figures = f'{size} voxels, {spacing} mm, {ct.orientation}, {hounsfield_text(ct)}'
    return fine(name, f'{path}: {figures}')
