"""How a rendering changes if the imager bends its rays."""

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from sph_reg_ros.geometry import Camera, se3
from sph_reg_ros.geometry.se3 import TWIST_LENGTH_MM
from sph_reg_ros.registration.level import Level
from sph_reg_ros.rendering.sampling import unit_rays

INTRINSICS = 3
"""The first columns: logarithm of the focal length, way of the principal point along x and y."""
GRID = 4
"""The last ones: ratio of the focal lengths along x and y, skew, radial and spiral distortion."""


def by_pose_and_imager(
    level: Level, pose: Float64[Tensor, '4 4'], number: int
) -> tuple[Float[Tensor, '1 H W'], Float[Tensor, '1 H W 13']]:
    """Return the rendering of a view at a pose of the first camera, and its derivative.

    The first six columns are by the pose, in the view's own axes; then those of `by_imager`.
    """
    images, jacobians = level.renderings(pose[None], seen=True).views[number]
    there = level.camera_from_first[number] @ pose
    centre = se3.transform_points(there, level.volume.centre[None])[0]
    columns = by_imager(jacobians[0], level.views[number].camera, centre)
    return images, torch.cat([jacobians, columns[None]], -1)


def by_imager(
    jacobian: Float[Tensor, 'H W 6'], camera: Camera, centre: Float64[Tensor, '3']
) -> Float[Tensor, 'H W 7']:
    """Return the derivative of a rendering by the imager.

    Each parameter bends every ray, and that is a turn about the source, another one in each pixel;
    what a turn does is known from the derivative by the pose.

    Args:
        jacobian: of the rendering by a twist about `centre` (`render_with_jacobian`).
        camera: intrinsics.
        centre: what twists turn about, camera coordinates (mm).

    Returns:
        Derivatives by INTRINSICS, the way of the principal point in focal lengths, and by GRID. The
        distortions grow with the square of the distance from the central ray, and are shares of the
        distance where that is half the image's height; image intensifiers have both kinds.
    """
    depth_mm = camera.scan_depth_mm
    rays = unit_rays(camera.K, camera.size, depth_mm)
    ray, source_y = (part.to(jacobian.device) for part in rays)
    z = ray[..., 2]
    u = ray[..., 0] / z
    v = source_y / depth_mm if depth_mm else ray[..., 1] / z
    half = camera.height / 2 / camera.focal_length
    square = (u * u + v * v) / half**2
    one, nothing = torch.ones_like(u), torch.zeros_like(u)
    # By how much u and v of a pixel change: they shrink as the focal length grows.
    changes = (
        (-u, -v),
        (-one, nothing),
        # Of a line scan, a way of the principal point along y is nothing but a pose.
        (nothing, nothing if depth_mm else -one),
        (-u / 2, v / 2),
        (-v / 2, -u / 2),
        (-u * square, -v * square),
        (v * square, -u * square),
    )
    arm = centre.to(ray).expand_as(ray).clone()
    arm[..., 1] -= source_y
    slopes = jacobian.double()
    by_turn, by_shift = slopes[..., :3], slopes[..., 3:] / TWIST_LENGTH_MM
    # Bending a ray is turning it about its source, and turning the rays one way is turning the
    # anatomy the other way.
    by_bend = torch.linalg.cross(ray, by_turn + torch.linalg.cross(arm, by_shift)) * z[..., None]
    by_u, by_v = by_bend[..., 0], by_bend[..., 1]
    if depth_mm:
        # In a line scan, v moves the source and bends no ray.
        by_v = -depth_mm * by_shift[..., 1]
    columns = [by_u * of_u + by_v * of_v for of_u, of_v in changes]
    return torch.stack(columns, -1).to(jacobian)
