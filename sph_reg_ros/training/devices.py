"""Where a training runs: CPU, one GPU or several, by Lightning Fabric."""

from typing import TYPE_CHECKING

import torch

from sph_reg_ros.errors import ConfigError, ErrorCode
from sph_reg_ros.training.run_config import Run

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def launched(run: Run) -> 'Fabric':
    """Return Fabric with all processes running; with several devices, each runs the program.

    Raises:
        ConfigError: BACKEND_UNAVAILABLE if Fabric or the device is not there.
    """
    try:
        # Imported lazily: it takes seconds, and only training needs it.
        from lightning_fabric import Fabric
    except ImportError:
        raise ConfigError(
            ErrorCode.BACKEND_UNAVAILABLE, 'training needs: pip install "sph_reg_ros[train]"'
        ) from None
    accelerator = run.accelerator
    if accelerator == 'auto':
        accelerator = 'cuda' if torch.cuda.is_available() else 'cpu'
    if accelerator == 'cuda' and torch.cuda.device_count() < max(1, run.devices):
        raise ConfigError(
            ErrorCode.BACKEND_UNAVAILABLE,
            f'there are {torch.cuda.device_count()} CUDA devices, not {max(1, run.devices)}',
        )
    if run.network_threads > 0:
        torch.set_num_threads(run.network_threads)
    if accelerator == 'cuda':
        # Products of TF32 are ten times as fast on a GPU; networks do not need more digits.
        torch.set_float32_matmul_precision('high')
    devices = run.devices or (torch.cuda.device_count() if accelerator == 'cuda' else 1)
    fabric = Fabric(accelerator=accelerator, devices=devices)
    fabric.launch()
    return fabric
