"""The normal equations of correlations in boxes, from sums over cells alone."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from sph_reg_ros.similarity.cells import BOXES, sums_over_boxes

FLOOR = 0.05
"""Variance added to that of every box, as a share of the image's: it tames flat boxes."""


@dataclass(frozen=True)
class FixedBoxes:
    """What the X-ray and the mask say of each box and cell.

    Attributes:
        kept: boxes that count, of all.
        count: usable pixels of each.
        weight: w, its squares add up to 1.
        factor: of x - mean_x, which makes it the target t.
        mean_x: mean of the X-ray.
        target_energy: sum of t^2 over all boxes.
        cell_count: usable pixels of each cell.
        cell_x: sum of the X-ray over each.
        boxes_of_cells: boxes that each cell lies in, one of each layout.
    """

    kept: Int64[Tensor, 'P']
    count: Float64[Tensor, 'P']
    weight: Float64[Tensor, 'P']
    factor: Float64[Tensor, 'P']
    mean_x: Float64[Tensor, 'P']
    target_energy: float
    cell_count: Float64[Tensor, 'C']
    cell_x: Float64[Tensor, 'C']
    boxes_of_cells: Int64[Tensor, 'l C']

    @cached_property
    def arrays(self) -> tuple[Any, ...]:
        """Return what `local_kernel.equations` takes."""
        slots = self.kept.new_full((BOXES,), len(self.kept))
        slots[self.kept] = torch.arange(len(self.kept))
        boxes = torch.stack([self.count, self.weight, self.factor, self.mean_x])
        pixels = float(self.cell_count.sum())
        return slots[self.boxes_of_cells].numpy(), boxes.numpy(), pixels, self.target_energy


class LocalEquations:
    """Cost and derivatives of B images y with n slopes J.

    In each box of m pixels, with a bar for the mean over it and V the variance of the whole image:

        r = w (y - y_bar) / d - t,    d^2 = E + FLOOR m V,    E = sum (y - y_bar)^2,
        J_r = w (J - J_bar - (y - y_bar) a) / d,    a = (sum (y - y_bar) J + FLOOR m V' / 2) / d^2.
    """

    def __init__(self, cells: Float64[Tensor, 'B K C'], fixed: FixedBoxes) -> None:
        """Take sums over cells of y, y^2, x y, J, y J and x J, K = 3 + 3 n."""
        self._cells, self._fixed = cells, fixed
        n = cells.shape[1] // 3 - 1
        boxes = sums_over_boxes(cells)[..., fixed.kept].mT
        y, yy, xy = boxes[..., 0], boxes[..., 1], boxes[..., 2]
        J, yJ, xJ = boxes[..., 3:].tensor_split(3, -1)
        m = fixed.count
        self.mean = y / m
        self.energy = yy - self.mean * y
        self.target = fixed.factor * (xy - fixed.mean_x * y)
        self.J = J
        self.J_energy = yJ - self.mean[..., None] * J
        self.J_target = fixed.factor[:, None] * (xJ - fixed.mean_x[:, None] * J)
        self.variance, slope = self._variance(n)
        self.square = self.energy + FLOOR * m * self.variance[:, None]
        raised = self.J_energy + 0.5 * FLOOR * m[:, None] * slope[:, None]
        self.along = raised / self.square[..., None]
        self.scale = fixed.weight / self.square.sqrt()
        self.squares = self.scale.square()

    def _variance(self, n: int) -> tuple[Float64[Tensor, 'B'], Float64[Tensor, 'B n']]:
        """Return that of all usable pixels, and its derivative."""
        total, pixels = self._cells.sum(-1), self._fixed.cell_count.sum()
        mean = total[:, :1] / pixels
        variance = (total[:, 1] - mean[:, 0] * total[:, 0]) / pixels
        self.contrast = variance * pixels / total[:, 1].clamp(min=1e-300)
        slope = 2 * (total[:, 3 + n : 3 + 2 * n] - mean * total[:, 3 : 3 + n]) / pixels
        return variance, slope

    @property
    def cost(self) -> Float64[Tensor, 'B']:
        """Return the sum of r^2."""
        return (
            (self.squares * self.energy - 2 * self.scale * self.target).sum(-1)
            + self._fixed.target_energy
        )  # fmt: skip

    @property
    def gradient(self) -> Float64[Tensor, 'B n']:
        """Return the sum of r J_r."""
        image = self.J_energy - self.energy[..., None] * self.along
        target = self.J_target - self.target[..., None] * self.along
        return (self.squares[..., None] * image - self.scale[..., None] * target).sum(-2)

    @property
    def hessian_without_products(self) -> Float64[Tensor, 'B n n']:
        """Return the sum of J_r J_r^T, less that of J J^T weighted by `weight_of_cells`."""
        weighted = self.squares[..., None] * self.along
        half = weighted.mT @ (0.5 * self.energy[..., None] * self.along - self.J_energy)
        means = self.J.mT @ (self.J * (self.squares / self._fixed.count)[..., None])
        return half + half.mT - means

    @property
    def weight_of_cells(self) -> Float64[Tensor, 'B C']:
        """Return the sum of (w / d)^2 over the boxes of each cell."""
        return self._spread(self.squares).sum(1)

    def gradients_of_cells(self) -> Float64[Tensor, 'B C n']:
        """Return the part of each cell in the gradient."""
        fixed = self._fixed
        y, yy, xy = (self._cells[:, None, k] for k in range(3))
        J, yJ, xJ = self._cells[:, 3:].mT[:, None].tensor_split(3, -1)
        m, x = fixed.cell_count, fixed.cell_x
        mean, scale, along = (self._spread(v) for v in (self.mean, self.scale, self.along))
        J_bar = self._spread(self.J / fixed.count[:, None])
        factor, mean_x = (self._spread(v[None]) for v in (fixed.factor, fixed.mean_x))
        of_y, of_x = y - mean * m, x - mean_x * m
        squares = yy - 2 * mean * y + mean.square() * m
        products = xy - mean_x * y - mean * of_x
        image = yJ - mean[..., None] * J - J_bar * of_y[..., None] - along * squares[..., None]
        target = xJ - mean_x[..., None] * J - J_bar * of_x[..., None] - along * products[..., None]
        parts = scale.square()[..., None] * image - (scale * factor)[..., None] * target
        return parts.sum(1)

    def residuals(
        self,
        y: Float64[Tensor, 'p'],
        J: Float64[Tensor, 'p n'],
        x: Float64[Tensor, 'p'],
        cell: Int64[Tensor, 'p'],
    ) -> tuple[Float64[Tensor, 'l p'], Float64[Tensor, 'l p n'], Bool[Tensor, 'l p']]:
        """Return r and J_r of the first image's pixels in each layout of boxes, and which count.

        Args:
            y: values of the image.
            J: slopes.
            x: values of the X-ray.
            cell: in which each lies.
        """
        of_boxes = (self.scale, self.mean, self.along, self.J / self._fixed.count[:, None])
        scale, mean, along, J_bar = (self._spread(v)[0][:, cell] for v in of_boxes)
        factor, mean_x = (
            self._spread(v[None])[0][:, cell] for v in (self._fixed.factor, self._fixed.mean_x)
        )
        y = y - mean
        slopes = scale[..., None] * (J - J_bar - y[..., None] * along)
        kept = self._spread(self._fixed.count[None])[0][:, cell] > 0
        return scale * y - factor * (x - mean_x), slopes, kept

    def _spread(self, of_boxes: Float64[Tensor, 'b P *n']) -> Float64[Tensor, 'b layouts C *n']:
        """Return for each cell the values of the boxes that it lies in, 0 for one left out."""
        index = self._fixed.boxes_of_cells
        every = of_boxes.new_zeros((len(of_boxes), BOXES, *of_boxes.shape[2:]))
        every[:, self._fixed.kept] = of_boxes
        return every[:, index]
