"""Is there anything to see from where a registration starts?"""

import itertools

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.errors import ErrorCode, SolverError
from sph_reg_ros.geometry import Camera, se3
from sph_reg_ros.imaging.attenuation import AttenuationVolume


def require_in_view(
    volume: AttenuationVolume, camera: Camera, camera_from_ct: Float64[Tensor, '4 4'], name: str
) -> None:
    """Raise SolverError with the figures if no part of the CT can lie in the image.

    Args:
        volume: CT.
        camera: camera of a view.
        camera_from_ct: where the CT is in it (mm).
        name: of the view, for the message.
    """
    corners = se3.transform_points(camera_from_ct, corners_lps_mm(volume))
    behind = corners[:, 2] <= 0
    if bool(behind.all()):
        raise _not_in_view(
            f'the CT lies {float(-corners[:, 2].max()):.0f} mm or more behind the source', name
        )
    if bool(behind.any()):
        return
    (left, top), (right, bottom) = (
        limit.tolist() for limit in camera.project(corners).aminmax(dim=0)
    )
    if right < -0.5 or bottom < -0.5 or left > camera.width - 0.5 or top > camera.height - 0.5:
        raise _not_in_view(
            f'the CT projects to columns {left:.0f} to {right:.0f} and rows {top:.0f} to '
            f'{bottom:.0f}, outside the image of {camera.width} x {camera.height} pixels',
            name,
        )


def corners_lps_mm(volume: AttenuationVolume) -> Float64[Tensor, '8 3']:
    """Return the outer corners of the voxel grid in CT coordinates."""
    ends = [(-0.5, count - 0.5) for count in reversed(volume.mu.shape)]
    indices = torch.tensor(list(itertools.product(*ends)), dtype=torch.float64)
    return se3.transform_points(volume.ct_from_index, indices)


def _not_in_view(figures: str, name: str) -> SolverError:
    return SolverError(
        ErrorCode.NO_OVERLAP,
        f'{name}: at the initial pose {figures}: check the initial pose and the camera',
    )
