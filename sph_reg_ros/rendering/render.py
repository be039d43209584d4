"""The two public functions: an X-ray image of line integrals, with and without its derivative."""

import os
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

import torch
from jaxtyping import Float, Float32, Float64
from torch import Tensor

from sph_reg_ros.errors import ConfigError, ErrorCode
from sph_reg_ros.geometry import se3
from sph_reg_ros.geometry.se3 import TWIST_LENGTH_MM
from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.rendering import autograd
from sph_reg_ros.rendering.along_rays import project_out_ray_motion
from sph_reg_ros.rendering.backends import BACKENDS
from sph_reg_ros.rendering.sampling import unit_rays

WITH_STORED_JACOBIAN = ('numba', 'triton')
"""Backends that torch differentiates through the Jacobian that they give."""
_MODULES = {
    'numba': 'cpu.backend',
    'triton': 'cuda.backend',
    'torch': 'reference.torch_backend',
    'diffdrr': 'reference.diffdrr_backend',
}


def resolve_backend(backend: str, volume: AttenuationVolume) -> str:
    """Return the backend that `backend` means for this volume.

    `auto` is `numba` for a volume on the CPU; on another device it is `triton` where that can run,
    else `torch`.

    Raises:
        ConfigError: CONFIG_INVALID for an unknown name, BACKEND_UNAVAILABLE for one that cannot
            run here.
    """
    if backend not in BACKENDS:
        raise ConfigError(
            ErrorCode.CONFIG_INVALID, f'backend {backend!r} is none of {", ".join(BACKENDS)}'
        )
    device = volume.device.type
    if backend == 'auto':
        if device == 'cpu':
            return 'numba'
        return 'torch' if _obstacle('triton', device) else 'triton'
    obstacle = _obstacle(backend, device)
    if obstacle:
        raise ConfigError(ErrorCode.BACKEND_UNAVAILABLE, f'backend {backend} {obstacle}')
    return backend


def _obstacle(backend: str, device: str) -> str:
    """Return what keeps a backend from rendering a volume on a device, or nothing."""
    if backend in ('numba', 'diffdrr') and device != 'cpu':
        return f'needs a volume on the CPU, this one is on {device}'
    if backend == 'diffdrr' and find_spec('diffdrr') is None:
        return 'needs: pip install --no-deps diffdrr'
    if backend == 'triton':
        if find_spec('triton') is None:
            return 'needs: pip install triton'
        interpreted = os.environ.get('TRITON_INTERPRET') == '1'
        if device != 'cuda' and not (device == 'cpu' and interpreted):
            return (
                f'needs a volume on a CUDA device, this one is on {device}: use volume.to("cuda"), '
                'or numba on the CPU (TRITON_INTERPRET=1 is for tests only)'
            )
    return ''


def render(
    volume: AttenuationVolume,
    camera_from_ct: Float[Tensor, '*b 4 4'],
    K: Float64[Tensor, '3 3'],
    size: tuple[int, int],
    *,
    backend: str = 'auto',
    step_mm: float | None = None,
    scan_depth_mm: float = 0.0,
) -> Float[Tensor, '*b H W']:
    """Render the line integral of attenuation along the ray of every pixel.

    `numba`, `triton` and `torch` sample the same points of the same trilinear field; images and
    each column of their derivative agree to a relative RMS of 1e-3. `diffdrr` sums piecewise
    constant voxels exactly (Siddon), so that it differs from them by what a voxel's edge is worth.

    If `camera_from_ct` requires a gradient, `numba` and `triton` keep the Jacobian and can be
    back-propagated once, `torch` any number of times, `diffdrr` not at all.

    Args:
        volume: attenuation in 1/mm.
        camera_from_ct: pose(s), CT (LPS mm) to camera (mm), [4, 4] or [B, 4, 4].
        K: intrinsics in pixels.
        size: (height, width) of the image.
        backend: one of `backends.BACKENDS`.
        step_mm: distance of samples on a ray; the edge of a cube as large as a voxel if None.
        scan_depth_mm: of a line scan, see `geometry.Camera`; 0 for a pinhole.

    Returns:
        Dimensionless line integrals on the volume's device: float32, or the dtype of
        `camera_from_ct` for `torch`.

    Raises:
        ConfigError: the backend is unknown or cannot run here.
    """
    name = resolve_backend(backend, volume)
    module = _module(name)
    batch = camera_from_ct[None] if camera_from_ct.ndim == 2 else camera_from_ct
    if name in WITH_STORED_JACOBIAN and camera_from_ct.requires_grad and torch.is_grad_enabled():
        images = autograd.render_for_autograd(
            module, volume, batch, K, size, step_mm, scan_depth_mm
        )
    else:
        images = module.render(volume, batch, K, size, step_mm, scan_depth_mm)
    return images[0] if camera_from_ct.ndim == 2 else images


def render_with_jacobian(
    volume: AttenuationVolume,
    camera_from_ct: Float64[Tensor, '*b 4 4'],
    K: Float64[Tensor, '3 3'],
    size: tuple[int, int],
    *,
    backend: str = 'auto',
    step_mm: float | None = None,
    without_ray_motion: bool = True,
    scan_depth_mm: float = 0.0,
) -> tuple[Float32[Tensor, '*b H W'], Float32[Tensor, '*b H W 6']]:
    """Render line integrals and their derivative by the pose, in one pass.

    The derivative is by a twist xi = (omega, v / TWIST_LENGTH_MM) that moves `camera_from_ct` on
    the left, in camera axes, about `volume.centre` (`geometry.se3.apply_twist`).

    Args:
        volume: attenuation in 1/mm.
        camera_from_ct: pose(s), CT (LPS mm) to camera (mm), [4, 4] or [B, 4, 4].
        K: intrinsics in pixels.
        size: (height, width) of the image.
        backend: one of BACKENDS; `diffdrr` has no usable derivative and is refused.
        step_mm: distance of samples on a ray.
        without_ray_motion: project out what the quadrature makes of motion along the rays, which
            leaves an exact integral the same (`along_rays`). If not, the derivative is exactly that
            of the sampled trilinear field.
        scan_depth_mm: as in `render`.

    Raises:
        ConfigError: the backend is unknown, cannot run here or gives no derivative.
    """
    name = resolve_backend(backend, volume)
    if name == 'diffdrr':
        raise ConfigError(
            ErrorCode.BACKEND_UNAVAILABLE,
            'backend diffdrr gives no exact derivative: use numba, triton or torch',
        )
    batch = camera_from_ct[None] if camera_from_ct.ndim == 2 else camera_from_ct
    module = _module(name)
    if name in ('numba', 'triton'):
        image, jacobian = module.render_with_jacobian(
            volume, batch, K, size, step_mm, without_ray_motion, scan_depth_mm
        )
        jacobian[..., 3:] *= TWIST_LENGTH_MM
    else:
        image, jacobian = module.render_with_jacobian(
            volume, batch, K, size, step_mm, scan_depth_mm
        )
        jacobian[..., 3:] *= TWIST_LENGTH_MM
        if without_ray_motion:
            centres = se3.transform_points(batch, volume.centre.to(batch)[None])[..., 0, :]
            rays, sources = _rays(tuple(K.flatten().tolist()), size, scan_depth_mm)
            jacobian = project_out_ray_motion(jacobian, centres, rays, TWIST_LENGTH_MM, sources)
    return (image[0], jacobian[0]) if camera_from_ct.ndim == 2 else (image, jacobian)


@lru_cache(maxsize=16)
def _rays(
    K: tuple[float, ...], size: tuple[int, int], scan_depth_mm: float
) -> tuple[Float64[Tensor, 'H W 3'], Float64[Tensor, 'H W']]:
    return unit_rays(torch.tensor(K, dtype=torch.float64).reshape(3, 3), size, scan_depth_mm)


def _module(name: str) -> ModuleType:
    # Imported lazily because each drags in a heavy library that the others do without.
    return import_module(f'sph_reg_ros.rendering.{_MODULES[name]}')
