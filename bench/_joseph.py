"""Path integrals by RTK's Joseph projector: made by others, and unlike any renderer here.

P. M. Joseph, IEEE Trans. Med. Imaging 1(3), 1982; S. Rit et al., J. Phys. Conf. Ser. 489, 2014.
"""

import numpy as np
import torch
from jaxtyping import Float32, Float64
from torch import Tensor

from sph_reg_ros.geometry import Camera, se3

PIXEL_MM = 100.0
"""Size of a detector's pixel that puts it behind everything: rays end there."""


def joseph_path_integrals(
    water_equivalent: Float32[Tensor, 'K J I'],
    camera_from_index: Float64[Tensor, '4 4'],
    K: Float64[Tensor, '3 3'],
    size: tuple[int, int],
) -> tuple[Float32[Tensor, 'H W'], Float32[Tensor, 'H W']]:
    """Return what `signed_path_integrals` returns, by interpolation instead of by voxels.

    Args:
        water_equivalent: as there, negative where the voxel is bone.
        camera_from_index: as there (mm); voxels are boxes, as in a CT.
        K: intrinsics without skew.
        size: (height, width).
    """
    values, camera_from_mm, spacing = _right_handed(water_equivalent.numpy(), camera_from_index)
    camera = Camera(K, *size)
    soft, bone = (
        _projected(np.maximum(sign * values, 0.0), spacing, camera_from_mm, camera)
        for sign in (1, -1)
    )
    return torch.from_numpy(soft), torch.from_numpy(bone)


def _right_handed(
    values: np.ndarray, camera_from_index: Float64[Tensor, '4 4']
) -> tuple[np.ndarray, Float64[Tensor, '4 4'], list[float]]:
    """Return voxels, their rigid pose in mm from the first one, and their spacing."""
    spacing = camera_from_index[:3, :3].norm(dim=0)
    if torch.det(camera_from_index[:3, :3]) < 0:
        values = values[..., ::-1]
        flip = torch.eye(4, dtype=torch.float64)
        flip[0, 0], flip[0, 3] = -1.0, values.shape[-1] - 1
        camera_from_index = camera_from_index @ flip
    camera_from_mm = camera_from_index.clone()
    camera_from_mm[:3, :3] /= spacing
    return np.ascontiguousarray(values), camera_from_mm, spacing.tolist()


def _projected(
    values: np.ndarray, spacing: list[float], camera_from_mm: Tensor, camera: Camera
) -> np.ndarray:
    # Imported lazily: it is there only where the benchmarks' packages are.
    import itk
    from itk import RTK as rtk  # noqa: N811

    volume = itk.image_from_array(values.astype(np.float32))
    volume.SetSpacing(spacing)
    height, width = camera.size
    empty = itk.image_from_array(np.zeros((1, height, width), np.float32))
    empty.SetSpacing([PIXEL_MM, PIXEL_MM, 1.0])
    projector = rtk.JosephForwardProjectionImageFilter[type(empty), type(volume)].New()
    projector.SetInput(0, empty)
    projector.SetInput(1, volume)
    projector.SetGeometry(_geometry(rtk, itk, camera_from_mm, camera))
    projector.Update()
    return itk.array_from_image(projector.GetOutput())[0, ::-1].copy()


def _geometry(rtk: object, itk: object, camera_from_mm: Tensor, camera: Camera) -> object:
    """Return RTK's geometry: the source, and a detector far behind the patient.

    The normal of RTK's detector points to the source, so that its rows count upwards.
    """
    mm_from_camera, K = se3.inverse(camera_from_mm), camera.K
    R, source = mm_from_camera[:3, :3], mm_from_camera[:3, 3]
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    if not torch.isclose(fx, fy) or bool(K[0, 1] != 0) or bool(K[1, 0] != 0):
        raise ValueError('RTK is given square, upright pixels here')
    last_row = source + PIXEL_MM * R @ torch.stack([-cx, camera.height - 1 - cy, fx])
    geometry = rtk.ThreeDCircularProjectionGeometry.New()
    points = [itk.Point[itk.D, 3](p.tolist()) for p in (source, last_row)]
    axes = [itk.Vector[itk.D, 3](axis.tolist()) for axis in (R[:, 0], -R[:, 1])]
    if not geometry.AddProjection(*points, *axes):
        raise ValueError('RTK takes no such geometry')
    return geometry
