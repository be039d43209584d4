"""How much of the CT the X-rays show, and where: starts, rivals and distances go by it."""

from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.geometry import se3
from sph_reg_ros.geometry.box import TRUNK_HALF_SIZE_MM, landmark_grid
from sph_reg_ros.registration.level import Level
from sph_reg_ros.registration.view import View

FULL_SIZE_MM = 200.0
"""Of what a C-arm's detector of 300 mm shows; the limits of the gate were chosen there."""
FULL_DISTANCE_MM = 700.0
"""From the source to the patient."""
_TO_CENTRE = 1e-6
"""Weight of the CT's centre against the beams: along a single beam nothing else tells."""


@dataclass(frozen=True)
class Seen:
    """What the X-rays show of the CT.

    Attributes:
        centre: where the beams' middles pass nearest to each other and to the CT's centre, within
            the CT; CT coordinates (mm).
        size_mm: edge of the square as large as the usable image in the view that shows the least,
            or the CT's second longest side if that is less.
        depth_share: size of the CT along the beam of that view, as a share of a trunk's; 1 at most.
        distance_mm: of the centre from its source.
        points: corners and face centres of a box about the centre, no larger than what is seen; CT
            coordinates (mm).
    """

    centre: Float64[Tensor, '3']
    size_mm: float
    depth_share: float
    distance_mm: float
    points: Float64[Tensor, '14 3']

    @property
    def share(self) -> float:
        """Return the size as a share of FULL_SIZE_MM, 1 at most."""
        return min(1.0, self.size_mm / FULL_SIZE_MM)

    @property
    def turn_share(self) -> float:
        """Return the share of a turn that bends a small image no more than a full one.

        Turned, what lies before and behind shifts against each other, the farther the deeper the CT
        is, however little of it is seen.
        """
        return min(1.0, self.share / self.depth_share)

    @property
    def distance_share(self) -> float:
        """Return the share of a shift along the beam that enlarges near CTs as it does far ones."""
        return min(1.0, self.distance_mm / FULL_DISTANCE_MM)


def seen_of(level: Level, pose: Float64[Tensor, '4 4']) -> Seen:
    """Return what the X-rays of a level show at a pose of the first camera."""
    low, high = level.volume.corners.cpu().aminmax(dim=0)
    poses = [other @ pose for other in level.camera_from_first]
    centre = _centre(level, poses, (low + high) / 2).clamp(low, high)
    views = [_size(view, there, centre) for view, there in zip(level.views, poses, strict=True)]
    (size_mm, distance_mm), there = min(zip(views, poses, strict=True), key=lambda pair: pair[0])
    extent = high - low
    size_mm = min(size_mm, float(extent.median()))
    trunk = torch.tensor(TRUNK_HALF_SIZE_MM, dtype=torch.float64)
    along = there[2, :3].abs()
    depth_share = float(along @ torch.minimum(trunk, extent / 2)) / float(along @ trunk)
    x, y, z = torch.minimum(trunk * min(1.0, size_mm / FULL_SIZE_MM), extent / 2).tolist()
    return Seen(centre, size_mm, depth_share, distance_mm, landmark_grid(centre, (x, y, z)))


def _centre(
    level: Level, poses: list[Float64[Tensor, '4 4']], middle: Float64[Tensor, '3']
) -> Float64[Tensor, '3']:
    """Return the point nearest to the middles of all beams (least squares)."""
    normal = _TO_CENTRE * torch.eye(3, dtype=torch.float64)
    right = _TO_CENTRE * middle
    for view, camera_from_ct in zip(level.views, poses, strict=True):
        source, ray = _beam(view, se3.inverse(camera_from_ct))
        across = torch.eye(3, dtype=torch.float64) - torch.outer(ray, ray)
        normal, right = normal + across, right + across @ source
    return torch.linalg.solve(normal, right)


def _beam(
    view: View, ct_from_camera: Float64[Tensor, '4 4']
) -> tuple[Float64[Tensor, '3'], Float64[Tensor, '3']]:
    """Return source and unit direction (CT) of the ray through the middle of the usable pixels."""
    camera = view.camera
    if view.mask is None:
        u, v = (camera.width - 1) / 2, (camera.height - 1) / 2
    else:
        v, u = view.mask.nonzero().double().mean(0).tolist()
    ray = torch.linalg.inv(camera.K) @ torch.tensor([u, v, 1.0], dtype=torch.float64)
    source = torch.zeros(3, dtype=torch.float64)
    if camera.scan_depth_mm:
        source[1], ray[1] = ray[1] * camera.scan_depth_mm, 0.0
    direction = ct_from_camera[:3, :3] @ ray
    return se3.transform_points(ct_from_camera, source[None])[0], direction / direction.norm()


def _size(
    view: View, camera_from_ct: Float64[Tensor, '4 4'], centre: Float64[Tensor, '3']
) -> tuple[float, float]:
    """Return the edge (mm) of a square as large as the usable image at a depth, and the depth."""
    depth_mm = float(se3.transform_points(camera_from_ct, centre[None])[0, 2])
    pixels = view.line_integrals.numel() if view.mask is None else int(view.mask.sum())
    return pixels**0.5 * max(depth_mm, 1e-9) / view.camera.focal_length, depth_mm
