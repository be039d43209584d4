"""CUDA renderer: one Triton kernel gives image and Jacobian of a batch of poses."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

import torch
import triton
import triton.testing
from jaxtyping import Float, Float32, Float64
from torch import Tensor

from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.rendering.cuda import kernel as kernels
from sph_reg_ros.rendering.cuda.kernel import SCENE_SIZE
from sph_reg_ros.rendering.cuda.volume import paired
from sph_reg_ros.rendering.sampling import checked_step_mm

TILE = {'TILE_H': 16, 'TILE_W': 8}
"""Where nothing can be tuned: without a GPU."""
# (rows, columns, warps) of the tiles that are tried on a GPU.
_TILES = ((16, 8, 4), (8, 8, 2), (8, 16, 4), (16, 16, 8), (8, 4, 1))
# A small image has too few tiles to keep a GPU busy: its rays are cut into parts.
_PIXELS_PER_PROGRAM = 128
_PROGRAMS_PER_PROCESSOR = 8
_MAX_PARTS = 16
_MAX_VIEWS = 64
_VIEWS: WeakKeyDictionary[AttenuationVolume, dict[tuple[float, ...], Tensor]] = WeakKeyDictionary()


def render(
    volume: AttenuationVolume,
    camera_from_ct: Float64[Tensor, 'B 4 4'],
    K: Float64[Tensor, '3 3'],
    size: tuple[int, int],
    step_mm: float | None,
    scan_depth_mm: float = 0.0,
) -> Float32[Tensor, 'B H W']:
    """Render line integrals of a batch of poses, on the volume's device."""
    return _run(volume, camera_from_ct, K, size, step_mm, scan_depth_mm)[0]


def render_with_jacobian(
    volume: AttenuationVolume,
    camera_from_ct: Float64[Tensor, 'B 4 4'],
    K: Float64[Tensor, '3 3'],
    size: tuple[int, int],
    step_mm: float | None,
    without_ray_motion: bool = False,
    scan_depth_mm: float = 0.0,
) -> tuple[Float32[Tensor, 'B H W'], Float32[Tensor, 'B H W 6']]:
    """Render line integrals and their derivative by (omega rad, v mm), motion along rays or not.

    In memory a derivative by one unknown is an image, as sums over pixels want it.
    """
    variant = {'JACOBIAN': True, 'PROJECT': without_ray_motion}
    image, jacobian = _run(volume, camera_from_ct, K, size, step_mm, scan_depth_mm, **variant)
    return image, jacobian.movedim(1, -1)


def _run(
    volume: AttenuationVolume,
    camera_from_ct: Float[Tensor, 'B 4 4'],
    K: Float64[Tensor, '3 3'],
    size: tuple[int, int],
    step_mm: float | None,
    scan_depth_mm: float,
    *,
    JACOBIAN: bool = False,
    PROJECT: bool = False,
) -> tuple[Float32[Tensor, 'B H W'], Float32[Tensor, 'B 6 H W']]:
    known, device = paired(volume), volume.device
    poses = camera_from_ct.detach().to(device, torch.float64, non_blocking=True).contiguous()
    count, programs = len(poses), len(poses) * size[0] * size[1] / _PIXELS_PER_PROGRAM
    parts = _parts(programs, device)
    scenes = torch.empty(count, SCENE_SIZE, device=device)
    image = torch.empty(parts, count, *size, device=device)
    jacobian = torch.empty((parts, count, 6, *size) if JACOBIAN else (0,), device=device)
    if count > 0:
        slices, rows, columns = known.pairs.shape
        view = _view(volume, K, step_mm, scan_depth_mm)
        with torch.cuda.device_of(known.pairs):
            kernels.prepare[(count,)](view, poses, scenes, *size, num_warps=1)
            kernel, tile = _kernel(device)
            kernel[lambda tile: (count * parts * _tiles(size, tile),)](
                known.pairs, known.levels, scenes, image, jacobian, *size,
                columns, rows, slices, parts, count, _effort(programs),
                JACOBIAN=JACOBIAN, PROJECT=PROJECT, enable_fp_fusion=True, **tile,
            )  # fmt: skip
    return _sum_of_parts(image), _sum_of_parts(jacobian) if JACOBIAN else jacobian


def _view(
    volume: AttenuationVolume,
    K: Float64[Tensor, '3 3'],
    step_mm: float | None,
    scan_depth_mm: float = 0.0,
) -> Float64[Tensor, 'n']:
    """Return what the kernel must know beside the pose, on the volume's device; kept."""
    step = checked_step_mm(volume, step_mm)
    known, key = _VIEWS.setdefault(volume, {}), (*K.flatten().tolist(), step, scan_depth_mm)
    if key not in known:
        if len(known) >= _MAX_VIEWS:
            known.clear()
        padded_from_ct = torch.linalg.inv(volume.ct_from_index.cpu())[:3].clone()
        padded_from_ct[:, 3] += 1
        inverse = torch.linalg.inv(K.detach().double().cpu())
        last = torch.tensor([step, scan_depth_mm], dtype=torch.float64)
        numbers = [padded_from_ct.flatten(), volume.centre.cpu(), inverse.flatten(), last]
        known[key] = torch.cat(numbers).to(volume.device)
    return known[key]


def _kernel(device: torch.device) -> tuple[Any, dict[str, int]]:
    """Return the kernel and its tile, or the kernel that finds the best one by trying."""
    if device.type == 'cuda':
        return _tuned(), {}
    return kernels.render, TILE


@cache
def _tuned() -> Any:
    configs = [
        triton.Config({'TILE_H': rows, 'TILE_W': columns}, num_warps=warps)
        for rows, columns, warps in _TILES
    ]
    key = ['JACOBIAN', 'PROJECT', 'effort']
    return triton.autotune(configs, key=key, do_bench=_milliseconds)(kernels.render)


def _milliseconds(run: Callable[[], None], quantiles: Sequence[float]) -> Any:
    """Return what a kernel takes; a few runs tell, and tuning makes the first image wait."""
    return triton.testing.do_bench(run, warmup=2, rep=10, quantiles=quantiles)


def _effort(programs: float) -> int:
    """Return the class of the work: what is best for few pixels is not for many."""
    return 0 if programs < 256 else 1 if programs < 2048 else 2


def _tiles(size: tuple[int, int], tile: dict[str, int]) -> int:
    return -(-size[0] // tile['TILE_H']) * -(-size[1] // tile['TILE_W'])


def _parts(programs: float, device: torch.device) -> int:
    if device.type != 'cuda' or programs == 0:
        return 1
    return int(max(1, min(_MAX_PARTS, _processors(device) * _PROGRAMS_PER_PROCESSOR // programs)))


@cache
def _processors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count


def _sum_of_parts(parts: Tensor) -> Tensor:
    return parts[0] if len(parts) == 1 else parts.sum(0)
