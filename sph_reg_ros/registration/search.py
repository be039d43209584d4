"""Where to start: rough poses all around the initial one.

Only turns that tilt the CT out of the image plane have to be rendered, once each and beyond the
image's border. Turns about the beam and depths rotate and scale the X-ray instead, and all shifts
in the plane are tried at once by correlation.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.geometry import se3, so3
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.level import Level
from sph_reg_ros.registration.templates import Templates, fast_size
from sph_reg_ros.registration.view import View

TURN_STEP = math.radians(12)
"""Distance of neighbouring turns: the solver finds its way from half of it with ease."""
DEPTH_STEP = 0.09
"""Distance of neighbouring depths as a share of the depth."""
TILT_REACH, REACH = 3.0, 2.5
"""How far the search goes, in standard deviations of the initial pose's error: a tilt has two
components and exceeds its reach in 1 % of all cases; steps beyond the edge serve the others."""
MAX_PAD = 4
"""How far the search shifts the CT at most, in image sizes: a rough pose that is further off is no
start, and the renderings must not outgrow the memory."""
POOL = 64
"""Best hypotheses that are compared with the X-ray properly."""
SAME = (math.radians(12), 12.0, 50.0)
"""Poses closer than this (turn; mm in plane and along the beam, as parts of an ellipsoid) lead to
the same optimum."""


@dataclass(frozen=True)
class Variants:
    """The hypotheses that need no rendering: turns about the beam through the image, depths.

    Attributes:
        view: the X-ray at the resolution of the search.
        turns: about the beam through the image's middle, rad [T].
        depths: true depth as a multiple of the initial one [T].
    """

    view: View
    turns: Float64[Tensor, 'T']
    depths: Float64[Tensor, 'T']

    @classmethod
    def build(cls, view: View, config: RegistrationConfig, depth_mm: float) -> 'Variants':
        """Lay out a grid as wide as the config's search."""
        turns = TURN_STEP * _steps(REACH * config.search_rotation_rad / TURN_STEP)
        depths = DEPTH_STEP * _steps(REACH * config.search_depth_mm / depth_mm / DEPTH_STEP)
        grid = torch.cartesian_prod(turns, 1 + depths[depths > -0.6])
        return cls(view, grid[:, 0], grid[:, 1])

    @cached_property
    def middle(self) -> Float64[Tensor, '3']:
        """Return the image's middle in pixels (column, row, 1)."""
        height, width = self.view.camera.size
        return torch.tensor([(width - 1) / 2, (height - 1) / 2, 1.0], dtype=torch.float64)

    def beam(self, shift: Float64[Tensor, '*b 2'] | None = None) -> Float64[Tensor, '*b 3']:
        """Return the direction of the ray through the image's middle, or pixels beside it."""
        pixel = self.middle
        if shift is not None:
            pixel = pixel + torch.nn.functional.pad(shift, (0, 1))
        direction = pixel @ torch.linalg.inv(self.view.camera.K).T
        return direction / direction.norm(dim=-1, keepdim=True)

    def templates(self, size: tuple[int, int], device: torch.device) -> Templates:
        """Return the X-ray as it would look without each turn and depth, on a device."""
        camera, usable = self.view.camera, self.view.mask
        x = self.view.line_integrals.to(device)
        mask = torch.ones_like(x) if usable is None else usable.to(x)
        # The mean behind the mask keeps interpolation at its border harmless.
        filled = torch.where(mask > 0, x, (x * mask).sum() / mask.sum())
        grid = self._sampling_grid().to(device)
        images, masks = (
            torch.nn.functional.grid_sample(
                channel.expand(len(grid), 1, *camera.size),
                grid,
                align_corners=False,
                padding_mode=padding,
            )[:, 0]
            for channel, padding in ((filled, 'border'), (mask, 'zeros'))
        )
        return Templates.build(images, masks > 0.75, size)

    def _sampling_grid(self) -> Tensor:
        """Return where each template [T, h, w, 2] samples the X-ray, in units of grid_sample."""
        height, width = self.view.camera.size
        v, u = torch.meshgrid(
            torch.arange(height, dtype=torch.float64),
            torch.arange(width, dtype=torch.float64),
            indexing='ij',
        )
        K, pixels = self.view.camera.K, torch.stack([u, v, torch.ones_like(u)], -1)
        turn = K @ so3.exp(self.turns[:, None] * self.beam()) @ torch.linalg.inv(K)
        turned = torch.einsum('tij,hwj->thwi', turn, pixels)
        offset = turned[..., :2] / turned[..., 2:] - self.middle[:2]
        # What lies deeper looks smaller.
        at = self.middle[:2] + offset / self.depths[:, None, None, None]
        return ((2 * at + 1) / torch.tensor([width, height]) - 1).float()

    def apply(
        self,
        index: Tensor,
        shift: Float64[Tensor, 'n 2'],
        camera_from_ct: Float64[Tensor, 'n 4 4'],
        centre: Float64[Tensor, '3'],
    ) -> Float64[Tensor, 'n 4 4']:
        """Return poses after the shift (pixels), turn and depth of the variants `index` [n]."""
        beam = self.beam()
        # A shift is a turn about the source: the rays through the anatomy stay the same.
        axis = torch.linalg.cross(self.beam(shift), beam.expand(len(shift), 3))
        sine = axis.norm(dim=-1, keepdim=True).clamp(min=1e-12)
        rotation = so3.exp(self.turns[index, None] * beam) @ so3.exp(axis / sine * sine.asin())
        turned = se3.from_parts(rotation, torch.zeros(3, dtype=torch.float64).expand(len(index), 3))
        moved = turned @ camera_from_ct
        centres = se3.transform_points(moved, centre[None])[:, 0]
        translation = moved[:, :3, 3] + centres * (self.depths[index, None] - 1)
        return se3.from_parts(moved[:, :3, :3], translation)


def propose(
    level: Level,
    first_from_ct: Float64[Tensor, '4 4'],
    config: RegistrationConfig,
) -> Float64[Tensor, 'n 4 4']:
    """Return the best distinct poses of the first camera, best first, at most `config.starts`.

    Every view proposes, all views judge. Poses from which the CT is out of view are left out, so
    that there may be none.

    Args:
        level: where to compare.
        first_from_ct: the initial pose.
        config: settings.
    """
    proposals = []
    for view, camera_from_first in zip(level.views, level.camera_from_first, strict=True):
        poses = _propose_by_view(level, view, camera_from_first @ first_from_ct, config)
        proposals.append(se3.inverse(camera_from_first) @ poses)
    poses = torch.cat(proposals)
    if len(poses) == 0:
        return poses
    scores, order = level.scores(poses).sort(descending=True, stable=True)
    poses = poses[order[scores > -1]]
    return poses[distinct(poses, level.volume.centre)[: config.starts]]


def distinct(poses: Float64[Tensor, 'n 4 4'], centre: Float64[Tensor, '3']) -> list[int]:
    """Return the indices of poses that are not like an earlier one."""
    centres = se3.transform_points(poses, centre[None])[:, 0]
    turns = poses[:, :3, :3].flatten(1)
    # The trace of a rotation is 1 + 2 cos(angle).
    cosines = ((turns @ turns.T - 1) / 2).clamp(-1, 1)
    shifts = (centres[:, None] - centres) / centres.new_tensor([SAME[1], SAME[1], SAME[2]])
    alike = ((cosines.acos() / SAME[0]) ** 2 + shifts.square().sum(-1) < 1).tolist()
    kept: list[int] = []
    for index, like in enumerate(alike):
        if not any(like[other] for other in kept):
            kept.append(index)
    return kept


def _propose_by_view(
    level: Level,
    view: View,
    camera_from_ct: Tensor,
    config: RegistrationConfig,
) -> Float64[Tensor, 'n 4 4']:
    centre = level.volume.centre
    depth_mm = float(se3.transform_points(camera_from_ct, centre[None])[0, 2])
    if depth_mm <= 0:
        return torch.empty(0, 4, 4, dtype=torch.float64)
    pad = math.ceil(REACH * config.search_in_plane_mm / depth_mm * view.camera.focal_length)
    pad = min(pad, MAX_PAD * max(view.camera.size))
    height, width = (fast_size(side + 2 * pad) for side in view.camera.size)
    top, left = (height - view.camera.height) // 2, (width - view.camera.width) // 2
    larger = view.camera.crop(-top, -left, height, width)
    tilts = _tilts(TILT_REACH * config.search_rotation_rad)
    poses = se3.apply_twist(tilts, camera_from_ct.expand(len(tilts), 4, 4), centre)
    images = level.images(poses, larger)
    variants = Variants.build(view, config, depth_mm)
    templates = variants.templates(larger.size, images.device)
    found = []
    for image in images:
        level.on_work(level)
        found.append(templates.best_shifts(image))
    scores, places = (torch.stack(parts).cpu() for parts in zip(*found, strict=True))
    shifts = places - torch.tensor([left, top])
    best = scores.flatten().topk(min(POOL, scores.numel())).indices
    tilt, variant = best // scores.shape[1], best % scores.shape[1]
    return variants.apply(variant, shifts[tilt, variant], poses[tilt], centre)


def _steps(reach: float) -> Float64[Tensor, 'n']:
    """Return the integers that cover [-reach, reach] with half a step to spare."""
    last = math.ceil(reach - 0.5) if reach > 0 else 0
    return torch.arange(-last, last + 1, dtype=torch.float64)


def _tilts(reach: float) -> Float64[Tensor, 'n 6']:
    """Return twists about axes in the image plane: a hexagonal grid of rotation vectors."""
    n = int(reach / TURN_STEP * 2) + 2
    a, b = torch.cartesian_prod(*[torch.arange(-n, n + 1, dtype=torch.float64)] * 2).T
    grid = TURN_STEP * torch.stack([a + b / 2, b * 3**0.5 / 2], -1)
    grid = grid[grid.norm(dim=-1) < reach + TURN_STEP / 4]
    return torch.nn.functional.pad(grid, (0, 4))
