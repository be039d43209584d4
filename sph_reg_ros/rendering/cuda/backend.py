"""CUDA renderer: one Triton kernel gives image and Jacobian of a batch of poses."""

import torch
from jaxtyping import Float32, Float64
from torch import Tensor

from sph_reg_ros.geometry import se3
from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.rendering.cuda import kernel
from sph_reg_ros.rendering.cuda.kernel import SCENE_SIZE, TILE_COLUMNS, TILE_ROWS
from sph_reg_ros.rendering.cuda.volume import stored
from sph_reg_ros.rendering.sampling import checked_step_mm, padded_index_from_camera

# A small image has too few tiles to keep a GPU busy: its rays are cut into parts.
_PROGRAMS_PER_PROCESSOR = 8
_MAX_PARTS = 16


def render(
    volume: AttenuationVolume,
    camera_from_ct: Float64[Tensor, 'B 4 4'],
    K: Float64[Tensor, '3 3'],
    size: tuple[int, int],
    step_mm: float | None,
) -> Float32[Tensor, 'B H W']:
    """Render line integrals of a batch of poses, on the volume's device."""
    return _run(volume, _scene(volume, camera_from_ct, K, step_mm), size, False)[0]


def render_with_jacobian(
    volume: AttenuationVolume,
    camera_from_ct: Float64[Tensor, 'B 4 4'],
    K: Float64[Tensor, '3 3'],
    size: tuple[int, int],
    step_mm: float | None,
) -> tuple[Float32[Tensor, 'B H W'], Float32[Tensor, 'B H W 6']]:
    """Render line integrals and their derivative by (omega rad, v mm)."""
    return _run(volume, _scene(volume, camera_from_ct, K, step_mm), size, True)


def _scene(
    volume: AttenuationVolume,
    camera_from_ct: Float64[Tensor, 'B 4 4'],
    K: Float64[Tensor, '3 3'],
    step_mm: float | None,
) -> Float64[Tensor, 'B n']:
    """Return what the kernel must know of every pose, in its order, on the volume's device."""
    poses = camera_from_ct.detach().double().cpu()
    step = torch.tensor([checked_step_mm(volume, step_mm)], dtype=torch.float64)
    K_inv = torch.linalg.inv(K.detach().double().cpu())
    index_from_camera = padded_index_from_camera(volume, poses)
    centre = se3.transform_points(poses, volume.centre.expand(len(poses), 1, 3))[:, 0]
    constants = torch.cat([K_inv.flatten(), step]).expand(len(poses), 10)
    scene = torch.cat([index_from_camera[:, :3].flatten(1), centre, constants], 1)
    assert scene.shape[1] == SCENE_SIZE
    return scene.to(volume.mu.device)


def _run(
    volume: AttenuationVolume,
    scene: Float64[Tensor, 'B n'],
    size: tuple[int, int],
    with_jacobian: bool,
) -> tuple[Float32[Tensor, 'B H W'], Float32[Tensor, 'B H W 6']]:
    known, poses = stored(volume), len(scene)
    tiles = -(-size[0] // TILE_ROWS) * -(-size[1] // TILE_COLUMNS)
    parts = _parts(poses * tiles, volume.mu.device)
    image = scene.new_empty((parts, poses, *size), dtype=torch.float32)
    jacobian = scene.new_empty(
        (parts, poses, *size, 6) if with_jacobian else (0,), dtype=torch.float32
    )
    if poses > 0:
        slices, rows, columns = known.values.shape
        with torch.cuda.device_of(known.values):
            kernel.render[(poses * tiles * parts,)](
                known.values,
                scene,
                image,
                jacobian,
                known.scale,
                *size,
                columns,
                rows,
                slices,
                parts,
                poses,
                JACOBIAN=with_jacobian,
                TILE_H=TILE_ROWS,
                TILE_W=TILE_COLUMNS,
                num_warps=TILE_ROWS * TILE_COLUMNS // 32,
                enable_fp_fusion=True,
            )
    return _sum_of_parts(image), _sum_of_parts(jacobian) if with_jacobian else jacobian


def _parts(programs: int, device: torch.device) -> int:
    if device.type != 'cuda' or programs == 0:
        return 1
    processors = torch.cuda.get_device_properties(device).multi_processor_count
    return max(1, min(_MAX_PARTS, processors * _PROGRAMS_PER_PROCESSOR // programs))


def _sum_of_parts(parts: Tensor) -> Tensor:
    return parts[0] if len(parts) == 1 else parts.sum(0)
