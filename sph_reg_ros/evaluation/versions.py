"""Software versions that a result depends on."""

import platform

import numpy as np
import torch

from sph_reg_ros import __version__


def versions() -> dict[str, str]:
    """Return versions by name."""
    return {
        'sph_reg_ros': __version__,
        'python': platform.python_version(),
        'torch': str(torch.__version__),
        'numpy': np.__version__,
    }
