"""By how much windows of an X-ray lie off the rendering: the shift at which they correlate best.

A linear fit finds shifts of a pixel or two; what has moved by itself is farther away, so all shifts
within reach are tried (block matching). Slowly varying brightness, such as scatter and soft tissue,
is taken off both images first: it would hide where the bone is.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float32
from torch import Tensor

WINDOW_STEPS = 3
"""Side of a window, in steps from one to the next."""


@dataclass(frozen=True)
class WindowShifts:
    """Where windows of the X-ray correlate best with the rendering.

    Attributes:
        px: shift (columns, rows) of the X-ray against the rendering, to a part of a pixel; NaN
            where the best one is the farthest that was tried.
        correlation: there.
        unmoved: correlation without any shift.
        structure: standard deviation of the rendering in the window.
    """

    px: Float32[Tensor, 'n 2']
    correlation: Float32[Tensor, 'n']
    unmoved: Float32[Tensor, 'n']
    structure: Float32[Tensor, 'n']


def grid_shifts(
    xray: Float32[Tensor, 'H W'],
    image: Float32[Tensor, 'H W'],
    mask: Bool[Tensor, 'H W'],
    step_px: int,
    reach_px: int,
) -> WindowShifts:
    """Return those of square windows, row by row, each WINDOW_STEPS steps wide.

    Args:
        xray: line integrals.
        image: rendering.
        mask: usable pixels.
        step_px: from window to window.
        reach_px: largest shift, along columns and rows.
    """
    weight, smooth_px = mask.float(), WINDOW_STEPS * step_px / 4
    xray = (xray - _smooth(xray, weight, smooth_px)) * weight
    image = image - _smooth(image, torch.ones_like(weight), smooth_px)
    side = 2 * reach_px + 1
    products = _shifted_products(xray, image, weight, reach_px)
    sums = torch.cat([_in_windows(row, step_px) for row in products])
    count, a, b, aa, ab, bb = sums.unbind(1)
    count = count.clamp(min=1e-6)
    variance_x, variance_y = aa - a * a / count, bb - b * b / count
    covariance = ab - a * b / count
    scores = covariance / (variance_x * variance_y).clamp(min=1e-20).sqrt()
    scores = scores.reshape(side, side, -1)
    structure = (variance_y / count).clamp(min=0).sqrt()[side * side // 2]
    px, best = _peaks(scores, reach_px)
    return WindowShifts(px, best, scores[reach_px, reach_px], structure)


def _in_windows(products: Float32[Tensor, 's k H W'], step_px: int) -> Float32[Tensor, 's k n']:
    """Return means over windows: of blocks of a step first, which windows share."""
    blocks = torch.nn.functional.avg_pool2d(products, step_px)
    return torch.nn.functional.avg_pool2d(blocks, WINDOW_STEPS, 1).flatten(2)


def _shifted_products(
    xray: Tensor, image: Tensor, weight: Tensor, reach_px: int
) -> Iterator[Float32[Tensor, 's 6 H W']]:
    """Yield, row of shifts by row, the products [shifts, 6, H, W] of both images."""
    height, width = xray.shape
    pad = torch.nn.functional.pad
    images = pad(torch.stack([image, torch.ones_like(image)]), (reach_px,) * 4)
    for top in range(2 * reach_px, -1, -1):
        rows = []
        for left in range(2 * reach_px, -1, -1):
            there, inside = images[:, top : top + height, left : left + width]
            w = weight * inside
            wx, wy = w * xray, w * there
            rows.append(torch.stack([w, wx, wy, wx * xray, wx * there, wy * there]))
        yield torch.stack(rows)


def _peaks(scores: Float32[Tensor, 's s n'], reach_px: int) -> tuple[Tensor, Tensor]:
    """Return the shift of each window's best score, by a parabola through it, and that score."""
    side, count = scores.shape[0], scores.shape[2]
    best, index = scores.reshape(side * side, count).max(0)
    v, u = index // side, index % side
    window = torch.arange(count)
    inner = (v > 0) & (v < side - 1) & (u > 0) & (u < side - 1)
    v, u = v.clamp(1, side - 2), u.clamp(1, side - 2)

    def between(before: Tensor, after: Tensor) -> Tensor:
        bend = before - 2 * scores[v, u, window] + after
        step = 0.5 * (before - after) / torch.where(bend.abs() > 1e-9, bend, 1.0)
        return step.clamp(-0.5, 0.5)

    columns = u - reach_px + between(scores[v, u - 1, window], scores[v, u + 1, window])
    rows = v - reach_px + between(scores[v - 1, u, window], scores[v + 1, u, window])
    px = torch.stack([columns, rows], -1)
    return torch.where(inner[:, None], px, torch.nan), best


def _smooth(image: Tensor, weight: Tensor, sigma_px: float) -> Tensor:
    """Return a Gaussian mean of the weighted pixels."""
    reach = max(1, round(3 * sigma_px))
    offsets = torch.arange(-reach, reach + 1).float()
    kernel = torch.exp(-(offsets / sigma_px).square() / 2)

    def mean(values: Tensor) -> Tensor:
        padded = torch.nn.functional.pad(values[None, None], (reach,) * 4)
        down = torch.nn.functional.conv2d(padded, kernel[None, None, :, None])
        return torch.nn.functional.conv2d(down, kernel[None, None, None, :])[0, 0]

    return mean(image * weight) / mean(weight).clamp(min=1e-6)
