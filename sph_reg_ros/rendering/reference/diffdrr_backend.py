"""DiffDRR's Siddon as a renderer: another algorithm by others, for parity and for simulation."""

import torch
from jaxtyping import Float32, Float64
from torch import Tensor

from sph_reg_ros.errors import ConfigError, ErrorCode
from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.rendering.reference.siddon import signed_path_integrals


def render(
    volume: AttenuationVolume,
    camera_from_ct: Float64[Tensor, 'B 4 4'],
    K: Float64[Tensor, '3 3'],
    size: tuple[int, int],
    step_mm: float | None,
    scan_depth_mm: float = 0.0,
) -> Float32[Tensor, 'B H W']:
    """Render line integrals; Siddon's lengths are exact, so that there is no step to choose."""
    del step_mm
    if scan_depth_mm > 0:
        raise ConfigError(
            ErrorCode.BACKEND_UNAVAILABLE, 'backend diffdrr renders no line scans: use numba'
        )
    poses, mu = camera_from_ct.detach().double(), volume.mu
    images = [signed_path_integrals(mu, pose @ volume.ct_from_index, K, size)[0] for pose in poses]
    return torch.stack(images)
