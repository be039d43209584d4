"""Does the CT lie in front of the cameras at all?"""

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.errors import ErrorCode, PoseError, SolverError
from sph_reg_ros.geometry import Camera, se3
from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.plausible import SMALLEST_OFFSET_MM
from sph_reg_ros.rendering.sampling import unit_rays


def rays_through(
    volume: AttenuationVolume, camera_from_ct: Float64[Tensor, '4 4'], camera: Camera
) -> int:
    """Return how many pixels' rays meet the box of the CT's voxels in front of the source."""
    index_from_camera = torch.linalg.inv(camera_from_ct @ volume.ct_from_index.cpu())
    directions, sources_y = unit_rays(camera.K, camera.size, camera.scan_depth_mm)
    slope = directions @ index_from_camera[:3, :3].T
    # A coordinate that never changes must not divide 0 by 0.
    slope = torch.where(slope.abs() < 1e-12, 1e-12, slope)
    source = index_from_camera[:3, 3] + sources_y[..., None] * index_from_camera[:3, 1]
    upper = torch.tensor(volume.shape[::-1], dtype=torch.float64) - 0.5
    at_lower, at_upper = (-0.5 - source) / slope, (upper - source) / slope
    near = torch.minimum(at_lower, at_upper).amax(-1).clamp(min=0)
    return int((torch.maximum(at_lower, at_upper).amin(-1) > near).sum())


def require_source_outside(
    volume: AttenuationVolume, camera_from_ct: Float64[Tensor, '4 4'], name: str
) -> None:
    """Raise PoseError POSE_INVALID if the X-ray source lies where none can be.

    That is inside the CT, or next to the origin of its coordinates, as it is by a pose in metres.

    Args:
        volume: CT.
        camera_from_ct: where it is in the camera (mm).
        name: of the X-ray, for the message.
    """
    offset_mm = float(camera_from_ct[:3, 3].norm())
    index_from_camera = torch.linalg.inv(camera_from_ct.double() @ volume.ct_from_index.cpu())
    index, last = index_from_camera[:3, 3], torch.tensor(volume.shape[::-1]) - 1
    if bool(((index >= -0.5) & (index <= last + 0.5)).all()):
        where = 'inside the CT'
    elif 0.01 < offset_mm < SMALLEST_OFFSET_MM:
        where = f"{offset_mm:.3g} mm from the origin of the CT's coordinates"
    else:
        return
    raise PoseError(
        ErrorCode.POSE_INVALID,
        f'{name}: at the initial pose the X-ray source lies {where}: are distances or the pose in '
        'metres? They must be in mm',
    )


def require_in_view(
    volume: AttenuationVolume, camera_from_ct: Float64[Tensor, '4 4'], camera: Camera, name: str
) -> None:
    """Raise SolverError NO_OVERLAP with the figures if no ray meets the CT: that is a mistake.

    Args:
        volume: CT.
        camera_from_ct: where it is in the camera (mm).
        camera: of the X-ray.
        name: of the X-ray, for the message.
    """
    if rays_through(volume, camera_from_ct, camera) == 0:
        raise SolverError(
            ErrorCode.NO_OVERLAP,
            f'{name}: 0 of {camera.height * camera.width} rays meet the CT at the initial pose; '
            f'{_whereabouts(volume, camera_from_ct, camera)}; check the initial pose and the '
            'camera',
        )


def _whereabouts(volume: AttenuationVolume, camera_from_ct: Tensor, camera: Camera) -> str:
    corners = se3.transform_points(camera_from_ct, volume.corners)
    depths = corners[:, 2]
    if bool((depths <= 0).all()):
        return f'it lies {float(-depths.max()):.0f} mm or more behind the source'
    if bool((depths <= 0).any()):
        return 'it reaches behind the source'
    (left, top), (right, bottom) = (
        limit.tolist() for limit in camera.project(corners).aminmax(dim=0)
    )
    return (
        f'it projects to columns {left:.0f} to {right:.0f} and rows {top:.0f} to {bottom:.0f}, '
        f'the image has {camera.width} x {camera.height} pixels'
    )
