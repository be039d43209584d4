"""Find a collimated field by its edge alone, where scatter lights the shadow or a body is as dark.

Blades and irises leave a sharp step down along three straight sides or more, or along a circle,
whatever the brightness on both sides of it. Nothing in a body does, and no beam filter.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float32
from torch import Tensor
from torch.nn import functional

# A step of the logarithm that counts fully; half of it is still seen.
_FULL_STEP = 0.25
_SEEN_SHARE, _SURE_SHARE = 0.25, 0.6
# The middle of the image is exposed: sides pass it at this share of the image's shorter side.
_NEAREST_SIDE = 0.15
_SHORTEST_CHORD = 0.3
_COARSE_DEGREES = 5.0
_FEWEST_SIDES = 3
_CIRCLE_RADII = (0.25, 0.72)
_CIRCLE_SHIFT = 0.12
_CIRCLE_TOLERANCE = 0.02
_LEAST_OF_CIRCLE = 0.4
_ANGLES = 48
_SHORTEST_EDGE = 2.0


@dataclass(frozen=True)
class Side:
    """Half plane of points with normal . (point - middle of the image) <= offset, in cells."""

    normal: Float32[Tensor, '2']
    offset: float


@dataclass(frozen=True)
class Circle:
    """Centre from the middle of the image (row, column) and radius, in cells."""

    centre: Float32[Tensor, '2']
    radius: float


@dataclass(frozen=True)
class Field:
    """An exposed field.

    Attributes:
        sides: half planes, if blades formed it.
        circle: the iris, if one did.
        length: cells of edge that were seen.
    """

    sides: tuple[Side, ...]
    circle: Circle | None
    length: float

    def distance(self, points: Float32[Tensor, '*n 2']) -> Float32[Tensor, '*n']:
        """Return the signed distance to the edge in cells, inside > 0.

        Args:
            points: (row, column) from the middle of the image, in cells.
        """
        if self.circle is not None:
            return self.circle.radius - (points - self.circle.centre).norm(dim=-1)
        gaps = [side.offset - points @ side.normal for side in self.sides]
        return torch.stack(gaps).amin(dim=0)


def field_by_edges(brightness: Float32[Tensor, 'h w']) -> Field | None:
    """Return the field whose edge is seen along most of its length, None if there is none.

    Args:
        brightness: logarithm of the counts on a coarse grid.
    """
    fields = [field for find in (_blades, _iris) if (field := find(brightness)) is not None]
    longest = max(fields, key=lambda field: field.length, default=None)
    if longest is None or longest.length < _SHORTEST_EDGE * min(brightness.shape):
        return None
    return longest


def _sampled(
    brightness: Float32[Tensor, 'h w'], points: Float32[Tensor, '*n 2']
) -> Float32[Tensor, '*n']:
    """Interpolate at (row, column) from the middle; the border goes on outside."""
    height, width = brightness.shape
    scale = torch.tensor([2.0 / width, 2.0 / height], device=points.device)
    grid = points.flip(-1).reshape(1, -1, 1, 2) * scale
    values = functional.grid_sample(
        brightness[None, None], grid, padding_mode='border', align_corners=False
    )
    return values.reshape(points.shape[:-1])


def _both_inside(brightness: Float32[Tensor, 'h w'], points: Tensor) -> Bool[Tensor, '*n']:
    """Return where the two samples of a step (along the last axis but one) lie in the image."""
    half = torch.tensor(brightness.shape, device=points.device) / 2
    inside = (points.abs() <= half).all(dim=-1)
    place = torch.arange(inside.shape[-1], device=points.device)
    near_in, near_out = ((place + shift).clamp(0, len(place) - 1) for shift in (-1, 2))
    return inside[..., near_in] & inside[..., near_out]


def _step_down(profiles: Float32[Tensor, '*n r']) -> Float32[Tensor, '*n r']:
    """Return how sharply profiles fall between samples i and i + 1, clipped to [-1, 1].

    The slopes on both sides of a step are no part of it, nor can they make one.
    """
    count = profiles.shape[-1]
    place = torch.arange(count, device=profiles.device)
    far_in, near_in, near_out, far_out = (
        profiles[..., (place + shift).clamp(0, count - 1)] for shift in (-4, -1, 2, 5)
    )
    fall = near_in - near_out
    sharp = fall - 0.5 * ((far_in - near_in) + (near_out - far_out))
    sharp = torch.minimum(torch.maximum(sharp, fall.clamp(max=0.0)), fall.clamp(min=0.0))
    return (sharp / _FULL_STEP).clamp(-1.0, 1.0)


def _blades(brightness: Float32[Tensor, 'h w']) -> Field | None:
    best, best_degrees = _rectangle(brightness, 0.0), 0.0
    for step, span in ((_COARSE_DEGREES, 45.0), (1.0, 3.0)):
        middle = best_degrees
        for degrees in torch.arange(middle - span, middle + span, step).tolist():
            rectangle = _rectangle(brightness, degrees)
            if rectangle.length > best.length:
                best, best_degrees = rectangle, degrees
    return best if len(best.sides) >= _FEWEST_SIDES else None


def _rectangle(brightness: Float32[Tensor, 'h w'], degrees: float) -> Field:
    """Return the sides that are seen at right angles at one inclination."""
    reach = math.ceil(math.hypot(*brightness.shape) / 2)
    ticks = torch.arange(-reach, reach + 1, dtype=torch.float32, device=brightness.device)
    axes = [_unit(degrees).to(ticks.device), _unit(degrees + 90.0).to(ticks.device)]
    # Every second cell along a side is enough, every cell is needed across it.
    along, outwards = torch.meshgrid(ticks[::2], ticks, indexing='ij')
    normals, steps, inside = [], [], []
    for axis in (0, 1):
        points = along[..., None] * axes[1 - axis] + outwards[..., None] * axes[axis]
        fall, valid = _step_down(_sampled(brightness, points)), _both_inside(brightness, points)
        # A step down one way is a step up the other way, between the same two samples.
        normals += [axes[axis], -axes[axis]]
        steps += [fall, -fall.roll(1, -1).flip(-1)]
        inside += [valid, valid.roll(1, -1).flip(-1)]
    offsets, lengths = [math.inf] * 4, [0.0] * 4
    for threshold in (_SEEN_SHARE, _SURE_SHARE):
        found = []
        for way in range(4):
            ahead, behind = (2, 3) if way < 2 else (0, 1)
            between = (ticks[::2] <= offsets[ahead]) & (ticks[::2] >= -offsets[behind])
            chord = inside[way] & between[:, None]
            found.append(_best_offset(steps[way], chord, ticks, min(brightness.shape), threshold))
        offsets, lengths = [offset for offset, _ in found], [length for _, length in found]
    sides = [Side(n, o) for n, o in zip(normals, offsets, strict=True) if o < math.inf]
    return Field(tuple(sides), None, sum(lengths))


def _best_offset(
    steps: Tensor, chord: Tensor, ticks: Tensor, shorter: int, threshold: float
) -> tuple[float, float]:
    """Return where the side lies (cells from the middle) and the length seen; (inf, 0) if none."""
    count = chord.sum(dim=0)
    share = (steps * chord).sum(dim=0) / count.clamp(min=1)
    allowed = (2 * count >= _SHORTEST_CHORD * shorter) & (ticks >= _NEAREST_SIDE * shorter)
    share = torch.where(allowed, share, torch.zeros_like(share))
    if float(share.max()) < threshold:
        return math.inf, 0.0
    # The outermost of several: edges of a body within the field may be as straight.
    outermost = int((share >= max(threshold, 0.95 * float(share.max()))).nonzero().max())
    top = outermost - 2 + int(share[outermost - 2 : outermost + 1].argmax())
    return float(ticks[top]) + 0.5, float(2 * share[top] * count[top])


def _iris(brightness: Float32[Tensor, 'h w']) -> Field | None:
    shorter = min(brightness.shape)
    centre, span = torch.zeros(2, device=brightness.device), _CIRCLE_SHIFT * shorter
    for step in (2.0, 0.5):
        places = torch.arange(-span, span + step / 2, step, device=brightness.device)
        centres = centre + torch.cartesian_prod(places, places)
        share, _, _ = _best_radius(brightness, centres)
        # The middle of all that are about as good: steps are seen from up to a cell away.
        centre, span = centres[share >= share.max() - _CIRCLE_TOLERANCE].mean(dim=0), 1.5
    share, length, radius = _best_radius(brightness, centre[None])
    if float(share) < _SURE_SHARE:
        return None
    return Field((), Circle(centre, float(radius)), float(share * length))


def _best_radius(brightness: Tensor, centres: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return for circles about each centre: share seen, length in view, radius of the best."""
    shorter = min(brightness.shape)
    low, high = (round(share * shorter) for share in _CIRCLE_RADII)
    radii = torch.arange(low, high, dtype=torch.float32, device=brightness.device)
    angles = torch.arange(_ANGLES, device=brightness.device) * (2 * math.pi / _ANGLES)
    rays = torch.stack([torch.sin(angles), torch.cos(angles)], dim=-1)
    points = centres[:, None, None] + rays[None, :, None] * radii[:, None]
    valid = _both_inside(brightness, points)
    seen = (_step_down(_sampled(brightness, points)) * valid).sum(dim=1)
    count = valid.sum(dim=1)
    share = torch.where(count >= _LEAST_OF_CIRCLE * _ANGLES, seen / count.clamp(min=1), 0.0)
    share, top = share.max(dim=1)
    radius = radii[top] + 0.5
    return share, count.gather(1, top[:, None])[:, 0] * radius * (2 * math.pi / _ANGLES), radius


def _unit(degrees: float) -> Float32[Tensor, '2']:
    """Return the direction (row, column) of an angle from the columns' axis."""
    angle = math.radians(degrees)
    return torch.tensor([math.sin(angle), math.cos(angle)])
