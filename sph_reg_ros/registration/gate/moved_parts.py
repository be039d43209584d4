"""Has a part of the patient moved by itself since the CT?

Where the CT is one rigid body, windows of the X-ray lie on the rendering, or all lie off it in much
the same way: by what is wrong with pose or camera. Neighbouring windows that agree with each other
on another shift show a body that has moved. Gas, contrast medium and instruments make windows
unlike the rendering; they shift none.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float32, Float64
from torch import Tensor

from sph_reg_ros.errors import ErrorCode
from sph_reg_ros.geometry import Camera, se3
from sph_reg_ros.registration.gate.evidence import Evidence
from sph_reg_ros.registration.gate.window_shifts import WINDOW_STEPS, WindowShifts, grid_shifts
from sph_reg_ros.registration.gate_limits import MAX_MOVED_MM
from sph_reg_ros.registration.level import Level
from sph_reg_ros.registration.moved_part import MovedPart
from sph_reg_ros.registration.result import Check, Verdict

STEP_MM, REACH_MM = 8.0, 9.0
"""From window to window, a third of its side; largest shift; at the depth of the CT's middle."""
PIXEL_MM = 1.6
"""About what a pixel should measure there."""
MIN_CORRELATION, MIN_GAIN = 0.6, 0.03
"""Of a shifted window with the rendering, and by how much more than where all others lie."""
MIN_STRUCTURE = 0.1
"""Contrast of the rendering in a window, as a share of that in the 90 % quantile of windows."""
MAX_DIFFERENCE_MM = 1.5
"""Between a window and its neighbours that agree: a body that turns moves everywhere a bit
otherwise."""
MIN_WINDOWS = 10
"""That agree: they overlap, and nine cover 40 mm. Less may be gas or the tip of an instrument."""
MIN_STILL = 0.6
"""Share of windows that have not moved: where more have, the pose is wrong."""
LEAST_SHIFT_MM = 0.8
"""Below it, windows have not moved."""
_ROUNDS, _WIDTH_MM = 10, 0.5


@dataclass(frozen=True)
class WindowMap:
    """The shifts of the windows of one view.

    Attributes:
        shift_mm: [rows, columns, 2], along columns and rows of the image, beyond what pose or
            camera explain; NaN where a window tells nothing.
        step_px: from one window to the next.
        mm_per_px: at the depth of the CT's middle.
    """

    shift_mm: Float32[Tensor, 'r c 2']
    step_px: int
    mm_per_px: float


def moved_parts(evidence: Evidence) -> tuple[MovedPart, ...]:
    """Return what has moved by itself in each view, the largest shift first."""
    level = min(evidence.levels, key=lambda level: abs(_pixel_mm(level, evidence.pose) - PIXEL_MM))
    found = []
    for number in range(len(level.views)):
        windows = window_map(level, evidence.pose, number)
        found += [_part(evidence, level, number, windows, cluster) for cluster in clusters(windows)]
    return tuple(sorted(found, key=lambda part: -part.size_mm))


def check_moved(parts: tuple[MovedPart, ...]) -> Check:
    """Doubt the pose of a CT of which a part has moved: no pose is right for all of it."""
    doubt = (Verdict.UNVERIFIED, ErrorCode.BODY_MOVED)
    largest = max((part.size_mm for part in parts), default=0.0)
    return Check.at_most('moved_part_mm', largest, MAX_MOVED_MM, doubt)


def window_map(level: Level, pose: Float64[Tensor, '4 4'], number: int) -> WindowMap:
    """Return by how much windows of a view lie off the rendering, beyond what is common to all."""
    view, (images, _) = level.views[number], level.renderings(pose[None], seen=True).views[number]
    mm_per_px = _pixel_mm(level, pose, number)
    step_px, reach_px = (max(1, round(mm / mm_per_px)) for mm in (STEP_MM, REACH_MM))
    step_px = min(step_px, min(view.camera.size) // WINDOW_STEPS)
    level.on_work(level)
    shifts = grid_shifts(
        view.line_integrals.cpu(),
        images[0].float().cpu(),
        view.usable.cpu(),
        step_px,
        reach_px,
    )
    columns = view.camera.width // step_px - WINDOW_STEPS + 1
    grid = own_shifts(shifts, columns, mm_per_px)
    return WindowMap(grid, step_px, mm_per_px)


def own_shifts(
    shifts: WindowShifts, columns: int, mm_per_px: float
) -> Float32[Tensor, 'rows columns 2']:
    """Return the shifts (mm) of windows beyond what a smooth field explains; NaN if unknown."""
    contrast = shifts.structure
    told = (contrast > MIN_STRUCTURE * contrast.quantile(0.9)) & (
        shifts.correlation > MIN_CORRELATION
    )
    told &= shifts.px.isfinite().all(1)
    mm = torch.where(told[:, None], shifts.px * mm_per_px, torch.nan)
    grid = mm.reshape(-1, columns, 2)
    own = grid - smooth_field(grid)
    gain = (shifts.correlation - shifts.unmoved).reshape(grid.shape[:2])
    small = own.norm(dim=-1) < LEAST_SHIFT_MM
    # A shift that makes hardly any difference is not known.
    return torch.where((small | (gain > MIN_GAIN))[..., None], own, torch.nan)


def smooth_field(shift: Float32[Tensor, 'r c 2']) -> Float32[Tensor, 'r c 2']:
    """Return the field that most windows agree on, by Cauchy weights: affine and radial.

    So bend a wrong pose, wrong pixels and a lens.
    """
    rows, columns, _ = shift.shape
    v, u = torch.meshgrid(
        torch.linspace(-1, 1, rows), torch.linspace(-1, 1, columns), indexing='ij'
    )
    radial = u.square() + v.square()
    basis = torch.stack([torch.ones_like(u), u, v, radial * u, radial * v], -1)
    known = shift.isfinite().all(-1)
    if int(known.sum()) < MIN_WINDOWS:
        return torch.zeros_like(shift)
    A, b = basis[known], shift[known]
    field = b.median(0).values.expand_as(b)
    # A light ridge keeps few windows from tilting the field.
    ridge = torch.diag(torch.tensor([0.0, 1.0, 1.0, 1.0, 1.0]))
    for _ in range(_ROUNDS):
        weight = 1 / (1 + ((b - field).norm(dim=1, keepdim=True) / _WIDTH_MM).square())
        coefficients = torch.linalg.lstsq((weight * A).T @ A + ridge, (weight * A).T @ b).solution
        field = A @ coefficients
    return basis @ coefficients


def clusters(windows: WindowMap) -> list[Bool[Tensor, 'r c']]:
    """Return groups of neighbouring windows that have moved and agree on a shift."""
    shift = windows.shift_mm
    size = shift.norm(dim=-1)
    left = (size >= LEAST_SHIFT_MM) & size.isfinite()
    found: list[Bool[Tensor, 'r c']] = []
    if int((size < LEAST_SHIFT_MM).sum()) < MIN_STILL * int(size.isfinite().sum()):
        return found
    while bool(left.any()):
        # Largest shifts first: a body's edge, where windows see others, too, joins it.
        seed = torch.where(left, size, -1.0).argmax()
        group = torch.zeros_like(left)
        group.view(-1)[seed] = True
        while True:
            near, here = _neighbours(torch.nan_to_num(shift), group)
            agrees = (shift - here).norm(dim=-1) < MAX_DIFFERENCE_MM
            grown = group | (near & left & agrees)
            if bool((grown == group).all()):
                break
            group = grown
        left &= ~group
        if int(group.sum()) >= MIN_WINDOWS:
            found.append(group)
    return found


def _neighbours(
    shift: Float32[Tensor, 'r c 2'], group: Bool[Tensor, 'r c']
) -> tuple[Bool[Tensor, 'r c'], Float32[Tensor, 'r c 2']]:
    """Return which windows are neighbours of a group, and the mean shift of those next to them."""
    members = torch.cat([group[None].float(), (shift * group[..., None]).movedim(-1, 0)])
    count, *sums = torch.nn.functional.avg_pool2d(members, 3, 1, 1)
    return count > 0, torch.stack(sums, -1) / count.clamp(min=1e-6)[..., None]


def _part(
    evidence: Evidence, level: Level, number: int, windows: WindowMap, cluster: Tensor
) -> MovedPart:
    view, pose = level.views[number], level.camera_from_first[number] @ evidence.pose
    rows, columns = (cluster.any(axis).nonzero().flatten() for axis in (1, 0))
    step, side = windows.step_px, WINDOW_STEPS * windows.step_px
    top, left = int(rows[0]) * step, int(columns[0]) * step
    bottom, right = int(rows[-1]) * step + side, int(columns[-1]) * step + side
    shift = windows.shift_mm[cluster].mean(0)
    depth_mm = float(se3.transform_points(pose, level.volume.centre[None])[0, 2])
    pixel = torch.tensor([(left + right - 1) / 2, (top + bottom - 1) / 2, 1.0]).double()
    in_camera = depth_mm * torch.linalg.inv(view.camera.K) @ pixel
    in_ct = se3.transform_points(se3.inverse(pose), in_camera[None])[0]
    x, y = shift.tolist()
    width, height = (right - left) * windows.mm_per_px, (bottom - top) * windows.mm_per_px
    return MovedPart(
        view=number,
        box=(
            left / view.camera.width,
            top / view.camera.height,
            right / view.camera.width,
            bottom / view.camera.height,
        ),
        centre_lps_mm=tuple(in_ct.tolist()),
        extent_mm=(width, height),
        shift_mm=(x, y),
    )


def _pixel_mm(level: Level, pose: Float64[Tensor, '4 4'], number: int = 0) -> float:
    there = level.camera_from_first[number] @ pose
    depth_mm = float(se3.transform_points(there, level.volume.centre[None])[0, 2])
    camera: Camera = level.views[number].camera
    return depth_mm / camera.focal_length
