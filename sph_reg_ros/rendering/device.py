"""Where CT, X-rays and networks are and everything is computed."""

from importlib.util import find_spec

import torch

from sph_reg_ros.errors import ConfigError, ErrorCode
from sph_reg_ros.rendering.backends import DEVICES

ONLY_ON_CPU = ('numba', 'diffdrr')
"""Backends."""


def chosen_device(name: str, backend: str = 'auto') -> torch.device:
    """Return the device that a setting means here.

    `auto` is the CUDA device where there is one, the backend can run on it, and Triton is installed
    to render on it; else the CPU.

    Args:
        name: one of `backends.DEVICES`.
        backend: what is to render, one of `backends.BACKENDS`.

    Raises:
        ConfigError: CONFIG_INVALID for an unknown name, BACKEND_UNAVAILABLE if a CUDA device is
            asked for and there is none, or the backend cannot use it.
    """
    if name not in DEVICES:
        raise ConfigError(
            ErrorCode.CONFIG_INVALID, f'device {name!r} is none of {", ".join(DEVICES)}'
        )
    if name == 'cpu':
        return torch.device('cpu')
    obstacle = _obstacle(backend)
    if name == 'cuda' and obstacle:
        raise ConfigError(ErrorCode.BACKEND_UNAVAILABLE, f'device cuda: {obstacle}')
    usable = not obstacle and (backend != 'auto' or find_spec('triton') is not None)
    return torch.device('cuda', 0) if name == 'cuda' or usable else torch.device('cpu')


def device_text(device: torch.device) -> str:
    """Return a device by its name and, on CUDA, that of the card."""
    if device.type != 'cuda':
        return str(device)
    return f'{device} ({torch.cuda.get_device_name(device)})'


def _obstacle(backend: str) -> str:
    """Return what keeps a backend from a CUDA device, or nothing."""
    if backend in ONLY_ON_CPU:
        return f'the backend {backend} runs on the CPU only: set one of the two to auto'
    if not torch.cuda.is_available():
        built_for = f'CUDA {torch.version.cuda}' if torch.version.cuda else 'the CPU only'
        return (
            f'there is none for torch {torch.__version__}, which is built for {built_for}: install '
            "NVIDIA's driver and a torch with CUDA, or set device to auto or cpu"
        )
    return ''
