"""Normalised cross-correlation in boxes of several sizes."""

import torch
from jaxtyping import Bool, Float, Float32, Float64
from torch import Tensor

from sph_reg_ros.rendering.cpu.threads import ONE_CALL_AT_A_TIME
from sph_reg_ros.similarity import gram, local_kernel
from sph_reg_ros.similarity.cells import (
    CELLS,
    boxes_of_cells,
    cell_edges,
    cell_of_pixels,
    sums_over_boxes,
)
from sph_reg_ros.similarity.correlation import SMALLEST_CONTRAST
from sph_reg_ros.similarity.features import first_usable
from sph_reg_ros.similarity.local_equations import FLOOR, FixedBoxes, LocalEquations
from sph_reg_ros.similarity.normal_equations import NormalEquations, of_residuals, where_valid
from sph_reg_ros.similarity.patches import PATCHES, no_overlap, patch_of_pixels
from sph_reg_ros.similarity.residual import ResidualBlock
from sph_reg_ros.similarity.robust import Robust, is_robust
from sph_reg_ros.similarity.rows import on_device

SMALLEST_BOX_PX = 8


class LocalSimilarity:
    """The mean over boxes of their NCC, each with its own gain and offset.

    There are 4, 8 and 16 boxes along a side of the image, and as many once more, moved by half a
    box. A box counts by its share of the X-ray's contrast, so that flat and noisy ones do not
    dominate.
    """

    def __init__(self, xray: Float32[Tensor, 'H W'], mask: Bool[Tensor, 'H W']) -> None:
        """Lay out the boxes and standardise the X-ray in each."""
        self._mask, self._anchor = mask, first_usable(mask)
        self._cell = cell_of_pixels((mask.shape[0], mask.shape[1])).to(xray.device)
        # The number after the last cell's is that of a pixel that does not count.
        self._cell_in_blocks = CELLS**2 - gram.in_blocks((CELLS**2 - self._cell) * mask).flatten(1)
        self._x = torch.where(mask, xray.double(), 0.0)
        self._fixed = self._fixed_boxes()
        self._patch_of_cell = patch_of_pixels((CELLS, CELLS)).to(xray.device)

    def _fixed_boxes(self) -> FixedBoxes:
        count = self._sums(self._mask.double()[None])
        x, xx, _ = self._sums(torch.stack([self._x, self._x.square(), self._x]))
        m, x_box, xx_box = sums_over_boxes(torch.stack([count[0], x, xx])[None])[0]
        kept = (m >= SMALLEST_BOX_PX).nonzero()[:, 0]
        pixels = m.new_tensor(float(self._mask.sum()))
        variance = (xx.sum() - x.sum().square() / pixels) / pixels
        if len(kept) == 0 or not variance > 1e-12 * (xx.sum() / pixels).clamp(min=1e-12):
            raise no_overlap()
        m, x_box, xx_box = m[kept], x_box[kept], xx_box[kept]
        energy = (xx_box - x_box.square() / m).clamp(min=0)
        square = energy + FLOOR * m * variance
        weight = energy / square * m
        weight = (weight / weight.sum()).sqrt()
        factor = weight / square.sqrt()
        target_energy = float((factor.square() * energy).sum())
        layouts = boxes_of_cells().to(x.device)
        return FixedBoxes(kept, m, weight, factor, x_box / m, target_energy, count[0], x, layouts)

    def on(self, device: torch.device) -> 'LocalSimilarity':
        """Return the similarity for renderings on a device (`ImageSimilarity`)."""
        return self if device == self._x.device else on_device(self, device)

    def residuals(
        self, rendering: Float[Tensor, 'H W'], jacobian: Float[Tensor, 'H W n']
    ) -> ResidualBlock:
        """Return r with |r|^2 = 2 (1 - score), and its exact derivative.

        Raises:
            SolverError: NO_OVERLAP if the rendering is constant within the mask.
        """
        image = self._anchored(rendering[None])[0].double()
        slopes = jacobian.double().movedim(-1, 0) * self._mask
        found = LocalEquations(self._sums(self._columns(image, slopes))[None], self._fixed)
        if not found.contrast > SMALLEST_CONTRAST:
            raise no_overlap()
        places = self._mask.flatten().nonzero()[:, 0]
        columns = image.flatten()[places], slopes.flatten(1)[:, places].T, self._x.flatten()[places]
        cell = self._cell.flatten()[places]
        residual, J, counts = found.residuals(*columns, cell)
        cluster = self._patch_of_cell[cell].expand(counts.shape)[counts]
        return ResidualBlock(residual[counts].to(rendering), J[counts].to(rendering), cluster)

    def normal_equations(
        self,
        renderings: Float[Tensor, 'B H W'],
        jacobians: Float[Tensor, 'B H W n'],
        robust: Robust | None = None,
        patches: bool = False,
    ) -> NormalEquations:
        """Return cost, gradient and Gauss-Newton matrix of each rendering (`ImageSimilarity`)."""
        if is_robust(robust):
            count = PATCHES**2 if patches else 0
            return of_residuals(self.residuals, renderings, jacobians, robust, count)
        slopes = jacobians.movedim(-1, 1)
        cells = self._cells(renderings, slopes)
        cost, gradient, rest, valid, of_cells = self._figures(cells)
        weights = of_cells[:, self._cell_in_blocks]
        return where_valid(
            valid,
            cost,
            gradient,
            rest + gram.weighted_products(renderings, slopes, weights),
            self._by_patch(cells) if patches else None,
        )

    def score(self, renderings: Float[Tensor, 'B H W']) -> Float[Tensor, 'B']:
        """Return 1 - |r|^2 / 2 of each rendering; -1 if it is constant."""
        cells = self._cells(renderings, renderings[:, None][:, :0])
        cost, _, _, valid, _ = self._figures(cells)
        score = torch.where(valid, 1 - cost / 2, -1.0)
        return score.to(renderings.dtype)

    def reweighted(self, rendering: Float[Tensor, 'H W']) -> 'LocalSimilarity':
        """Return itself: what a box shows beside the CT does not reach the others."""
        return self

    def _cells(
        self, renderings: Float[Tensor, 'B H W'], slopes: Float[Tensor, 'B n H W']
    ) -> Float64[Tensor, 'B C K']:
        """Return the sums over cells of images and slopes (`_columns`)."""
        if not gram.runs_compiled(renderings):
            anchored = self._anchored(renderings).double()
            return self._sums(self._columns(anchored, slopes.double() * self._mask)).mT
        images = gram.array(renderings)
        with ONE_CALL_AT_A_TIME:
            cells = local_kernel.cell_sums(
                images,
                gram.array(slopes),
                images.reshape(len(images), -1)[:, self._anchor].copy(),
                self._x.numpy(),
                self._mask.numpy(),
                *(cell_edges(side) for side in self._mask.shape),
            )
        return torch.from_numpy(cells)

    def _figures(self, cells: Float64[Tensor, 'B C K']) -> tuple[Tensor, ...]:
        """Return cost, gradient, hessian without J J^T, validity and the weights of cells and 0."""
        if gram.runs_compiled(cells):
            limits = FLOOR, SMALLEST_CONTRAST
            figures = local_kernel.equations(cells.numpy(), *self._fixed.arrays, *limits)
            return tuple(torch.from_numpy(figure) for figure in figures)
        found = LocalEquations(cells.mT, self._fixed)
        rest, valid = found.hessian_without_products, found.contrast > SMALLEST_CONTRAST
        weights = torch.nn.functional.pad(found.weight_of_cells, (0, 1))
        return found.cost, found.gradient, rest, valid, weights

    def _anchored(self, images: Float[Tensor, 'B H W']) -> Float[Tensor, 'B H W']:
        anchors = images.flatten(1)[:, self._anchor, None, None]
        return torch.where(self._mask, images - anchors, 0.0)

    def _columns(
        self, images: Float64[Tensor, '*b H W'], slopes: Float64[Tensor, '*b n H W']
    ) -> Float64[Tensor, '*b K H W']:
        """Return what is summed: y, y^2, x y, J, y J and x J."""
        y = images[..., None, :, :]
        return torch.cat([y, y * y, self._x * y, slopes, y * slopes, self._x * slopes], -3)

    def _sums(self, columns: Float64[Tensor, '*b H W']) -> Float64[Tensor, '*b C']:
        """Return sums over cells."""
        sums = columns.new_zeros(*columns.shape[:-2], CELLS**2)
        return sums.index_add_(-1, self._cell.flatten(), columns.flatten(-2))

    def _by_patch(self, cells: Float64[Tensor, 'B C K']) -> Float64[Tensor, 'B P n']:
        """Return the part of each patch in the gradient."""
        of_cells = LocalEquations(cells.mT, self._fixed).gradients_of_cells()
        sums = of_cells.new_zeros(len(of_cells), PATCHES**2, of_cells.shape[-1])
        return sums.index_add_(1, self._patch_of_cell, of_cells)
