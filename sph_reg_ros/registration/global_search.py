"""Where to start without an initial pose: every direction from which a C-arm can look.

The CT is rendered once for each direction, small, and beyond the image's border. The X-ray, turned
about its beam and scaled for other depths, is compared with every part of every rendering by a
convolution. A coarse grid will do: from the best hypotheses the solver goes on at a resolution so
low that it finds its way.
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float32, Float64
from torch import Tensor
from torch.nn.functional import conv2d, grid_sample, max_pool2d, pad

from sph_reg_ros.geometry import Camera, se3, so3
from sph_reg_ros.geometry.carm import camera_from_ct_for_angles
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.level import Level
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.search import distinct, propose
from sph_reg_ros.registration.solve import Solver
from sph_reg_ros.registration.view import View, averaged, shrink, usable_part
from sph_reg_ros.rendering.render import render

FIELD_PX = 12
"""Edge of the X-ray here. The time grows with the fourth power; of 36 X-rays of chest, lumbar spine
and pelvis, clean and disturbed, this size ranked the right hypotheses as 16 did, among the best 8
of 7,500."""
DIRECTION_STEP, ROLL_STEP = math.radians(18), math.radians(15)
DEPTHS = (1 / 1.15, 1.0, 1.15)
"""As shares of the distance that the settings say: 0.8 to 1.25 of it are within reach of one."""
MOST_CRANIAL = math.radians(45)
"""Largest secondary angle of a C-arm, cranial and caudal."""
POOL = 160
"""Best hypotheses of a view that are compared with all X-rays patch by patch."""
SCOUT_PX, SCOUTS, STARTS = 16, 24, 6
"""Height of the X-rays from which the solver goes on, from how many hypotheses, and distinct poses
that it leads to."""
REACH = 0.75
"""How far from the CT's middle the beam may pass, as a share of the distance of its corners."""
EDGE_SHARE = 0.5
"""Weight of line integrals beside that of their slopes, which say more but are more often wrong."""
MIN_USABLE = 0.5
"""Templates that keep a smaller share of the pixels of the fullest one are left out."""
MIN_ENERGY = 1e-3
"""Contrast that a rendering needs under a template, as a share of the largest one."""
SCORES_AT_A_TIME = 2**21
"""Of templates at places in renderings, which bounds the memory."""


@dataclass(frozen=True)
class Templates:
    """One X-ray as it would look turned about its beam and at other depths.

    The square camera that sees it so looks along the beam through the X-ray's middle.

    Attributes:
        camera_from_square: rotation [3, 3] of that camera.
        focal_length: of it, in its pixels.
        rolls: turn about the beam of each template, rad [T].
        scales: distance of the CT from the source, as a share of that in the renderings [T].
        channels: line integrals and slopes under the mask, centred, of unit norm [T, 3, n, n].
        masks: pixels that count [T, 1, n, n].
    """

    camera_from_square: Float64[Tensor, '3 3']
    focal_length: float
    rolls: Float64[Tensor, 'T']
    scales: Float64[Tensor, 'T']
    channels: Float32[Tensor, 'T 3 n n']
    masks: Float32[Tensor, 'T 1 n n']

    @classmethod
    def build(cls, view: View) -> 'Templates':
        """Turn an X-ray all around, and scale it."""
        view = usable_part(view)
        height = max(1, round(view.camera.height * FIELD_PX / max(view.camera.size)))
        image, share, camera = averaged(view, height)
        usable = (share > 0.5).float()
        rolls = ROLL_STEP * torch.arange(round(2 * math.pi / ROLL_STEP), dtype=torch.float64)
        rolls, scales = torch.cartesian_prod(rolls, torch.tensor(DEPTHS, dtype=torch.float64)).T
        # The mean behind the mask keeps interpolation at its border harmless.
        mean = (image * usable).sum() / usable.sum().clamp(min=1)
        filled = torch.where(usable > 0, image, mean)
        camera_from_square = _turn_to(_middle_ray(camera))[0]
        grid = _where_sampled(camera, camera_from_square, rolls, scales)
        images, inside = (
            grid_sample(
                channel.expand(len(grid), 1, *channel.shape),
                grid,
                align_corners=False,
                padding_mode=padding,
            )
            for channel, padding in ((filled, 'border'), (usable, 'zeros'))
        )
        masks = _eroded(inside > 0.75)
        counts = masks.sum((2, 3), keepdim=True)
        channels = _with_slopes(images)
        channels[:, :1] -= (channels[:, :1] * masks).sum((2, 3), keepdim=True) / counts.clamp(min=1)
        channels *= masks
        channels /= channels.square().sum((1, 2, 3), keepdim=True).sqrt().clamp(min=1e-20)
        kept = counts.flatten() >= MIN_USABLE * float(counts.max())
        parts = (rolls[kept], scales[kept], channels[kept], masks[kept])
        return cls(camera_from_square, camera.focal_length, *parts)

    def best_places(
        self, images: Float32[Tensor, 'B H W']
    ) -> tuple[Float32[Tensor, 'B T'], Float64[Tensor, 'B T 2']]:
        """Return the highest correlation of each template in each image, and its (column, row).

        Normalised over the template's mask (Padfield, IEEE Trans. Image Process. 21(5), 2012).
        """
        channels = _with_slopes(images[:, None])
        channels[:, :1] -= channels[:, :1].mean((2, 3), keepdim=True)
        masks = self.masks.to(images.device)
        products = conv2d(channels, self.channels.to(images.device))
        sums = conv2d(channels[:, :1], masks)
        energies = conv2d(channels.square().sum(1, keepdim=True), masks)
        energies -= sums.square() / masks.sum((2, 3)).clamp(min=1).view(1, -1, 1, 1)
        floor = MIN_ENERGY * energies.amax((1, 2, 3), keepdim=True).clamp(min=1e-20)
        best, at = (products / torch.maximum(energies, floor).sqrt()).flatten(2).max(2)
        columns = products.shape[3]
        return best, torch.stack([at % columns, at // columns], -1).double()


def hypotheses(
    level: Level, request: RegistrationRequest, count: int | None = None
) -> Float64[Tensor, 'n 4 4']:
    """Return distinct rough poses of the first camera, best first.

    They lie around the initial pose, or anywhere if there is none. Every view proposes, all views
    judge. Poses from which the CT is out of view are left out, so that there may be none.

    Args:
        level: where to compare.
        request: initial pose and settings.
        count: at most so many; None: `starts` of the settings, or STARTS.
    """
    config = request.config
    if request.initial_camera_from_ct is None:
        return _anywhere(level, config)[: count or STARTS]
    return propose(level, request.start, config if count is None else replace(config, starts=count))


def _anywhere(level: Level, config: RegistrationConfig) -> Float64[Tensor, 'n 4 4']:
    proposed = [
        se3.inverse(camera_from_first) @ propose_by_view(level, view, config)
        for view, camera_from_first in zip(level.views, level.camera_from_first, strict=True)
    ]
    poses = torch.cat(proposed)
    small = _smaller(level, config.search_distance_mm)
    scores, by_patches = small.scores(poses).sort(descending=True, stable=True)
    if scores[0] == -1:
        return poses[:0]
    # Both ways to compare are sometimes deceived: the best of each go on.
    by_grid = torch.cat([torch.arange(len(some)) for some in proposed])
    order = torch.stack([by_grid, by_patches.argsort()]).amin(0).argsort(stable=True)
    ends = Solver(config).scout(small, poses[order[:SCOUTS]])
    found = ends.poses[ends.order]
    return found[distinct(found, level.volume.centre)]


def _smaller(level: Level, distance_mm: float) -> Level:
    """Return a level that is SCOUT_PX high, with CT and similarity to match."""
    views = tuple(shrink(view, min(SCOUT_PX, view.camera.height)) for view in level.views)
    pixel_mm = distance_mm / max(view.camera.focal_length for view in views)
    volume = level.volume.coarsened(pixel_mm)
    return replace(level, volume=volume, views=views, render_cache=[]).coarse_similarity


def propose_by_view(
    level: Level, view: View, config: RegistrationConfig
) -> Float64[Tensor, 'n 4 4']:
    """Return the best hypotheses [n, 4, 4] of a view's camera_from_ct, best first.

    Args:
        level: gives CT and renderer.
        view: X-ray at any resolution.
        config: gives the distance of the CT from the source.
    """
    distance_mm, centre = config.search_distance_mm, level.volume.centre.cpu()
    templates = Templates.build(view)
    poses = torch.stack(
        [camera_from_ct_for_angles(a, b, distance_mm, centre) for a, b in directions()]
    )
    images = _around(level, poses, distance_mm / templates.focal_length)
    found = []
    scores_each = len(templates.rolls) * (images.shape[-1] - FIELD_PX + 1) ** 2
    for some in images.split(max(1, SCORES_AT_A_TIME // max(scores_each, 1))):
        level.on_work(level)
        found.append(templates.best_places(some))
    scores, places = (torch.cat(parts).cpu() for parts in zip(*found, strict=True))
    best = scores.flatten().topk(min(POOL, scores.numel())).indices
    rendering, template = best // scores.shape[1], best % scores.shape[1]
    # The renderings reach as far beyond the X-ray at every side.
    offset = places[rendering, template] - (images.shape[-1] - FIELD_PX) / 2
    rays = pad(offset / templates.focal_length, (0, 1), value=1.0)
    roll = so3.exp(pad(templates.rolls[template, None], (2, 0)))
    # A shift is a turn about the source: the rays through the anatomy stay the same.
    turn = templates.camera_from_square @ roll @ _turn_to(rays).mT
    moved = se3.from_parts(turn, torch.zeros(len(best), 3, dtype=torch.float64)) @ poses[rendering]
    centres = se3.transform_points(moved, centre[None])[:, 0]
    farther = centres * (templates.scales[template, None] - 1)
    return se3.from_parts(moved[:, :3, :3], moved[:, :3, 3] + farther)


def directions(step: float = DIRECTION_STEP) -> list[tuple[float, float]]:
    """Return (primary, secondary) angles, rad, evenly spread over what a C-arm reaches.

    They lie on a spiral by the golden angle, neighbours about a step apart.
    """
    count = round(4 * math.pi / (step**2 * math.sqrt(3) / 2))
    found = []
    for index in range(count):
        secondary = math.asin(1 - (2 * index + 1) / count)
        if abs(secondary) <= MOST_CRANIAL + step / 4:
            found.append((index * math.pi * (1 + math.sqrt(5)) % (2 * math.pi), secondary))
    return found


def _around(
    level: Level, poses: Float64[Tensor, 'B 4 4'], pixel_mm: float
) -> Float32[Tensor, 'B H W']:
    """Return square renderings that reach as far as half an X-ray may still show the CT.

    Args:
        level: gives CT and renderer.
        poses: of the CT, its middle on the beam.
        pixel_mm: size of a pixel there.
    """
    level.on_work(level)
    centre = level.volume.centre.cpu()
    reach = REACH * float((level.volume.corners - centre).norm(dim=-1).max()) / pixel_mm
    side = FIELD_PX + 2 * max(FIELD_PX // 4, math.ceil(reach) - FIELD_PX // 4)
    f = float(se3.transform_points(poses[0], centre[None])[0, 2]) / pixel_mm
    middle = (side - 1) / 2
    K = torch.tensor([[f, 0, middle], [0, f, middle], [0, 0, 1]], dtype=torch.float64)
    volume = level.volume.coarsened(pixel_mm)
    return render(volume, poses, K, (side, side), backend=level.backend).float()


def _middle_ray(camera: Camera) -> Float64[Tensor, '1 3']:
    """Return the ray through the middle of an image."""
    middle = [(camera.width - 1) / 2, (camera.height - 1) / 2, 1.0]
    return torch.tensor([middle], dtype=torch.float64) @ torch.linalg.inv(camera.K).T


def _turn_to(rays: Float64[Tensor, 'n 3']) -> Float64[Tensor, 'n 3 3']:
    """Return the least rotations from +z to rays."""
    rays = rays / rays.norm(dim=-1, keepdim=True)
    z = torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64)
    axis = torch.linalg.cross(z.expand_as(rays), rays)
    sine = axis.norm(dim=-1, keepdim=True)
    return so3.exp(axis / sine.clamp(min=1e-12) * torch.atan2(sine, rays[:, 2:]))


def _where_sampled(
    camera: Camera,
    camera_from_square: Float64[Tensor, '3 3'],
    rolls: Float64[Tensor, 'T'],
    scales: Float64[Tensor, 'T'],
) -> Float32[Tensor, 'T n n 2']:
    """Return where the pixels of templates lie in an image, as grid_sample counts."""
    at = torch.arange(FIELD_PX, dtype=torch.float64) - (FIELD_PX - 1) / 2
    v, u = torch.meshgrid(at, at, indexing='ij')
    # What lies deeper looks smaller.
    flat = torch.stack([u, v], -1) / camera.focal_length / scales[:, None, None, None]
    turn = camera.K @ camera_from_square @ so3.exp(pad(rolls[:, None], (2, 0)))
    pixels = torch.einsum('tij,thwj->thwi', turn, pad(flat, (0, 1), value=1.0))
    pixels = pixels[..., :2] / pixels[..., 2:]
    return ((2 * pixels + 1) / torch.tensor([camera.width, camera.height]) - 1).float()


def _with_slopes(images: Float32[Tensor, 'n 1 h w']) -> Float32[Tensor, 'n 3 h w']:
    """Return line integrals and their two slopes, which vanish at the border."""
    channels = torch.zeros(len(images), 3, *images.shape[2:], device=images.device)
    channels[:, :1] = EDGE_SHARE * images
    channels[:, 1, :, 1:-1] = images[:, 0, :, 2:] - images[:, 0, :, :-2]
    channels[:, 2, 1:-1] = images[:, 0, 2:] - images[:, 0, :-2]
    return channels


def _eroded(masks: Tensor) -> Float32[Tensor, 'n 1 h w']:
    """Return pixels all of whose neighbours are usable: only there are slopes known."""
    outside = pad((~masks).float(), (1, 1, 1, 1), value=1.0)
    return 1 - max_pool2d(outside, 3, 1)
