"""CPU renderer: compiled, parallel, cached on disk."""

import numba
import numpy as np
import torch
from jaxtyping import Float32, Float64
from torch import Tensor

from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.rendering.cpu import kernel
from sph_reg_ros.rendering.cpu.threads import ONE_CALL_AT_A_TIME
from sph_reg_ros.rendering.cpu.volume import packed
from sph_reg_ros.rendering.sampling import checked_step_mm

_NO_JACOBIAN = np.empty((0, 6, 0, 0), np.float32)


def render(
    volume: AttenuationVolume,
    camera_from_ct: Float64[Tensor, 'B 4 4'],
    K: Float64[Tensor, '3 3'],
    size: tuple[int, int],
    step_mm: float | None,
    scan_depth_mm: float = 0.0,
) -> Float32[Tensor, 'B H W']:
    """Render line integrals of a batch of poses."""
    image = np.empty((len(camera_from_ct), *size), np.float32)
    _run(volume, camera_from_ct, K, step_mm, scan_depth_mm, image, _NO_JACOBIAN)
    return torch.from_numpy(image)


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
    image = np.empty((len(camera_from_ct), *size), np.float32)
    jacobian = np.empty((len(camera_from_ct), 6, *size), np.float32)
    _run(volume, camera_from_ct, K, step_mm, scan_depth_mm, image, jacobian, without_ray_motion)
    return torch.from_numpy(image), torch.from_numpy(jacobian).movedim(1, -1)


def _run(
    volume: AttenuationVolume,
    camera_from_ct: Float64[Tensor, 'B 4 4'],
    K: Float64[Tensor, '3 3'],
    step_mm: float | None,
    scan_depth_mm: float,
    image: np.ndarray,
    jacobian: np.ndarray,
    without_ray_motion: bool = False,
) -> None:
    # Small matrices: NumPy takes a tenth of the time of torch.
    poses = camera_from_ct.detach().double().cpu().numpy()
    index_from_camera = np.linalg.inv(poses @ volume.ct_from_index.numpy())
    index_from_camera[:, :3, 3] += 1  # the volume is padded by one voxel
    with ONE_CALL_AT_A_TIME:
        stored = packed(volume)
        kernel.render_tiles(
            stored.values.reshape(-1),
            stored.scale,
            stored.occupied,
            np.array(stored.values.shape),
            index_from_camera,
            poses[:, :3, :3] @ volume.centre.numpy() + poses[:, :3, 3],
            np.linalg.inv(K.detach().double().cpu().numpy()),
            float(scan_depth_mm),
            checked_step_mm(volume, step_mm),
            _tile(image.shape),
            without_ray_motion,
            image,
            jacobian,
        )


def _tile(shape: tuple[int, ...]) -> int:
    """Return the largest tile, best for the caches, that still keeps every core busy."""
    batch, height, width = shape
    for tile in (32, 16, 8):
        if batch * -(-height // tile) * -(-width // tile) >= 4 * numba.get_num_threads():
            return tile
    return 4
