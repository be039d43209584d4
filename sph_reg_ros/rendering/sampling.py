"""The quadrature that all our backends share.

A ray is sampled at y_k = o + t_k c in camera coordinates, t_k = (k + 1/2) step, c the pixel's unit
direction, o its source: the origin, or in a line scan (0, y, 0) with y by the row. The points stay
fixed in the camera when the pose moves, so that the derivative of the sum is the sum of the
derivatives, exactly; outside the volume the density is 0 and continuous.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from sph_reg_ros.errors import ConfigError, ErrorCode
from sph_reg_ros.geometry import se3
from sph_reg_ros.imaging.attenuation import AttenuationVolume


@dataclass(frozen=True)
class SampleRange:
    """Samples first <= k < last cover the volume on every ray.

    Attributes:
        step_mm: distance of two samples.
        first: first sample that may lie in the volume.
        last: one past the last such sample.
    """

    step_mm: float
    first: int
    last: int


def checked_step_mm(volume: AttenuationVolume, step_mm: float | None) -> float:
    """Return `step_mm`, or by default the edge of the cube that is as large as a voxel.

    Raises:
        ConfigError: the step is not positive.
    """
    step = math.prod(volume.spacing_mm) ** (1 / 3) if step_mm is None else float(step_mm)
    if not step > 0:
        raise ConfigError(ErrorCode.CONFIG_INVALID, f'step_mm is {step}: it must be positive')
    return step


def sample_range(
    volume: AttenuationVolume,
    camera_from_ct: Float64[Tensor, '4 4'],
    step_mm: float | None,
    source_mm: float = 0.0,
) -> SampleRange:
    """Bound the samples by the sphere around the volume; raises ConfigError for a bad step.

    Args:
        volume: attenuation.
        camera_from_ct: pose.
        step_mm: as in `checked_step_mm`.
        source_mm: how far from the camera's origin rays may begin.
    """
    step = checked_step_mm(volume, step_mm)
    centre = se3.transform_points(camera_from_ct.detach(), volume.centre[None])[0]
    radius = float(_half_diagonal_mm(volume)) + step + source_mm
    distance = float(centre.norm())
    first = max(0, int((distance - radius) / step))
    return SampleRange(step, first, int((distance + radius) / step) + 1)


def padded_index_from_camera(
    volume: AttenuationVolume, camera_from_ct: Float[Tensor, '*b 4 4']
) -> Float[Tensor, '*b 4 4']:
    """Return the affine from camera mm to (i, j, k) of the volume padded by one zero voxel."""
    padded_from_ct = torch.linalg.inv(volume.ct_from_index)
    padded_from_ct = padded_from_ct.clone()
    padded_from_ct[:3, 3] += 1
    return padded_from_ct.to(camera_from_ct.dtype) @ se3.inverse(camera_from_ct)


def unit_directions(
    K: Float64[Tensor, '3 3'], size: tuple[int, int], scan_depth_mm: float = 0.0
) -> Float64[Tensor, 'H W 3']:
    """Return the camera-frame unit direction of every pixel's ray."""
    return unit_rays(K, size, scan_depth_mm)[0]


def unit_rays(
    K: Float64[Tensor, '3 3'], size: tuple[int, int], scan_depth_mm: float = 0.0
) -> tuple[Float64[Tensor, 'H W 3'], Float64[Tensor, 'H W']]:
    """Return the unit direction of every pixel's ray, and the y of its source: 0 in a pinhole.

    All in the camera frame; `scan_depth_mm` as in `geometry.Camera`.
    """
    height, width = size
    v, u = torch.meshgrid(
        torch.arange(height, dtype=torch.float64),
        torch.arange(width, dtype=torch.float64),
        indexing='ij',
    )
    directions = torch.stack([u, v, torch.ones_like(u)], -1) @ torch.linalg.inv(K).T
    sources_y = scan_depth_mm * directions[..., 1]
    if scan_depth_mm > 0:
        directions[..., 1] = 0
    return directions / directions.norm(dim=-1, keepdim=True), sources_y


def _half_diagonal_mm(volume: AttenuationVolume) -> Tensor:
    # One voxel wider than the grid: interpolation fades to 0 over that margin.
    extent = torch.tensor(volume.shape[::-1], dtype=torch.float64) + 1
    corners = torch.cartesian_prod(*[torch.tensor([-0.5, 0.5], dtype=torch.float64)] * 3) * extent
    return (corners @ volume.ct_from_index[:3, :3].T).norm(dim=-1).max()
