"""Find the exposed field of an X-ray whose beam was collimated.

Blades and irises leave a convex bright field in a dark, even surround with a sharp edge. The image
is reduced to a coarse grid, where noise and burned-in letters vanish. For a few thresholds the
convex hull of the bright cells, as an intersection of half planes, is a candidate; it is believed
only if the cells just inside its edge are bright, the edge is sharp, and the surround is even. A
body has no such outline. Where scatter lights the surround, or the body is as dark as it, the edge
alone tells the field (`field_edges`); that is tried first.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float32
from torch import Tensor
from torch.nn import functional

from sph_reg_ros.imaging.xray.field_edges import field_by_edges

_GRID = 96
_SMALLEST_SIDE = 32
_DIRECTIONS = 96
_THRESHOLDS = (0.1, 0.2, 0.35, 0.5, 0.7)
# Cells: the edge cell is partly exposed, so one is given up all round.
_MARGIN = 1.0
# Sides are found to within a cell.
_EDGE_MARGIN = 1.25
_CLAMP = 6.0
# A shadow darker than this share of the field counts as black.
_DARKEST_SHARE = 1e-3
# Thick parts of a body transmit that little beside open air.
_NEARLY_BLACK_SHARE = 1e-5
_SMALLEST_SHADOW = 0.01
_SMALLEST_FIELD = 0.05
_BRIGHT_EDGE_SHARE = 0.75
_SMALLEST_DROP = math.log(2.0)
_LARGEST_SPREAD = 0.5


@dataclass(frozen=True)
class _Candidate:
    """A field: signed distance [h, w] to its edge in cells (inside > 0), and its edge's drop."""

    distance: Float32[Tensor, 'h w']
    drop: float


@dataclass(frozen=True)
class _Directions:
    """Unit normals [2, d] (row, column), and every cell's coordinate along them [d, h, w]."""

    normals: Float32[Tensor, '2 d']
    along: Float32[Tensor, 'd h w']

    @classmethod
    def of(cls, grid: Float32[Tensor, 'h w']) -> '_Directions':
        angle = torch.arange(_DIRECTIONS, device=grid.device) * (2 * math.pi / _DIRECTIONS)
        normals = torch.stack([torch.sin(angle), torch.cos(angle)])
        cells = torch.ones_like(grid).nonzero().float()
        return cls(normals, (normals.T @ cells.T).reshape(_DIRECTIONS, *grid.shape))


def collimator_mask(counts: Float32[Tensor, 'H W']) -> Bool[Tensor, 'H W']:
    """Return True inside the exposed field; all True where no collimator is seen.

    Fields are convex: rectangles at any angle, circles, and what is left of both at the image's
    border. Up to two cells of the coarse grid (2 % of the image's longer side) inside the
    edge are given up, never fewer than the blurred edge needs.

    Args:
        counts: image [H, W], bright where the beam was open (`intensity.counts`).
    """
    height, width = counts.shape
    everything = torch.ones(counts.shape, dtype=torch.bool, device=counts.device)
    if min(height, width) < _SMALLEST_SIDE:
        return everything
    distance_by_edges = _distance_by_edges(counts)
    if distance_by_edges is not None:
        return distance_by_edges >= _EDGE_MARGIN
    brightness = _log_brightness(counts)
    field = _best_field(brightness)
    if field is None:
        return everything
    distance = functional.interpolate(
        field.distance[None, None], size=(height, width), mode='bilinear', align_corners=False
    )
    return distance[0, 0] >= _MARGIN


def _distance_by_edges(counts: Float32[Tensor, 'H W']) -> Float32[Tensor, 'H W'] | None:
    """Return the signed distance of every pixel to the edge, in cells; None if none is seen."""
    brightness = _log_brightness(counts, _NEARLY_BLACK_SHARE)
    field = field_by_edges(brightness)
    if field is None:
        return None
    pixels = torch.ones_like(counts).nonzero().float().reshape(*counts.shape, 2)
    extent = torch.tensor(counts.shape, device=counts.device)
    cells = torch.tensor(brightness.shape, device=counts.device)
    return field.distance((pixels + 0.5 - extent / 2) * (cells / extent))


def _log_brightness(
    counts: Float32[Tensor, 'H W'], darkest_share: float = _DARKEST_SHARE
) -> Float32[Tensor, 'h w']:
    cell = max(1.0, max(counts.shape) / _GRID)
    size = (round(counts.shape[0] / cell), round(counts.shape[1] / cell))
    grid = functional.adaptive_avg_pool2d(counts[None].float(), size)[0]
    bright = torch.quantile(grid, 0.95).clamp(min=torch.finfo(torch.float32).tiny)
    return torch.log(torch.maximum(grid, bright * darkest_share) / bright)


def _best_field(brightness: Float32[Tensor, 'h w']) -> _Candidate | None:
    low, high = torch.quantile(brightness, torch.tensor([0.01, 0.9], device=brightness.device))
    if high - low < _SMALLEST_DROP:
        return None
    directions = _Directions.of(brightness)
    candidates = (
        _candidate(brightness, low + share * (high - low), directions) for share in _THRESHOLDS
    )
    return max((c for c in candidates if c is not None), key=lambda c: c.drop, default=None)


def _candidate(
    brightness: Float32[Tensor, 'h w'], threshold: Tensor, directions: '_Directions'
) -> _Candidate | None:
    bright = _without_specks(brightness > threshold)
    distance = _distance_to_hull_edge(bright, directions)
    outside = distance < -1
    if outside.float().mean() < _SMALLEST_SHADOW or bright.float().mean() < _SMALLEST_FIELD:
        return None
    inner = brightness[(distance >= 0.5) & (distance < 2.5)]
    outer = brightness[outside & (distance >= -3.5)]
    if inner.numel() == 0 or outer.numel() == 0:
        return None
    drop = inner.median() - outer.median()
    tenth, ninetieth = torch.quantile(
        brightness[outside], torch.tensor([0.1, 0.9], device=brightness.device)
    )
    believed = (
        (inner > threshold).float().mean() >= _BRIGHT_EDGE_SHARE
        and drop >= _SMALLEST_DROP
        and ninetieth - tenth <= _LARGEST_SPREAD * drop
    )
    return _Candidate(distance, float(drop)) if believed else None


def _without_specks(bright: Bool[Tensor, 'h w']) -> Bool[Tensor, 'h w']:
    """Remove what is narrower than three cells: noise, letters, markers."""
    return _dilated(~_dilated(~bright))


def _dilated(cells: Bool[Tensor, 'h w']) -> Bool[Tensor, 'h w']:
    return functional.max_pool2d(cells.float()[None], 3, stride=1, padding=1)[0] > 0


def _distance_to_hull_edge(
    bright: Bool[Tensor, 'h w'], directions: '_Directions'
) -> Float32[Tensor, 'h w']:
    """Return the signed distance to the hull's edge; sides on the image's border are no edges."""
    border = _border(bright)
    rim = bright & (_dilated(~bright) | border)
    rim_within = bright & ~border & _dilated(~bright | border)
    reach = _reach(rim, directions.normals)
    reach_within = _reach(rim_within, directions.normals)
    # A field that the image cuts off reaches a whole cell further in the border row than within.
    cut_off = reach - reach_within > 0.8 * directions.normals.abs().sum(dim=0)
    reach = torch.where(cut_off, torch.full_like(reach, float(sum(bright.shape))), reach)
    return (reach[:, None, None] - directions.along).amin(dim=0).clamp(-_CLAMP, _CLAMP)


def _border(cells: Bool[Tensor, 'h w']) -> Bool[Tensor, 'h w']:
    border = torch.ones_like(cells)
    border[1:-1, 1:-1] = False
    return border


def _reach(cells: Bool[Tensor, 'h w'], normals: Float32[Tensor, '2 d']) -> Float32[Tensor, ' d']:
    points = cells.nonzero().float()
    if points.shape[0] == 0:
        return torch.full((normals.shape[1],), -float('inf'), device=cells.device)
    return (points @ normals).amax(dim=0)
