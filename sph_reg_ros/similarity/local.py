"""Normalised cross-correlation in patches of several sizes."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor

from sph_reg_ros.similarity.local_kernel import patch_residuals, patch_statistics
from sph_reg_ros.similarity.normal_equations import NormalEquations, of_residuals
from sph_reg_ros.similarity.patches import PATCHES, no_overlap, patch_of_pixels
from sph_reg_ros.similarity.residual import ResidualBlock
from sph_reg_ros.similarity.robust import Robust

DIVISIONS = (4, 8, 16)
"""Patches of each scale along a side of the image."""
FLOOR = 0.05
"""Variance added to that of every patch, as a share of the image's: it tames flat patches."""


class LocalSimilarity:
    """The mean over patches of their NCC, each with its own gain and offset.

    A patch counts by its share of the X-ray's contrast, so that flat and noisy ones do not
    dominate; each scale is laid out twice, the second time moved by half a patch.
    """

    def __init__(self, xray: Float32[Tensor, 'H W'], mask: Bool[Tensor, 'H W']) -> None:
        """Lay out the patches and standardise the X-ray in each."""
        self._mask = mask.contiguous().numpy()
        boxes = _boxes(xray.shape)
        counts = np.array([self._mask[a:b, c:d].sum() for a, b, c, d in boxes])
        self._boxes = boxes[counts >= 8]
        counts = counts[counts >= 8]
        if len(counts) == 0:
            raise no_overlap()
        self._starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        inside = self._inside()
        cluster = patch_of_pixels(xray.shape)
        self.cluster = cluster[inside]
        self._weights, self._target = self._standardise(xray)

    def _inside(self) -> Tensor:
        width = self._mask.shape[1]
        parts = []
        for a, b, c, d in self._boxes:
            v, u = np.nonzero(self._mask[a:b, c:d])
            parts.append((v + a) * width + u + c)
        return torch.from_numpy(np.concatenate(parts))

    def _standardise(self, xray: Tensor) -> tuple[np.ndarray, np.ndarray]:
        x = xray.double().numpy()
        means, energies = patch_statistics(x, self._mask, self._boxes)
        variance = float(x[self._mask].var())
        if not variance > 1e-12 * max(1e-12, float((x[self._mask] ** 2).max())):
            raise no_overlap()
        counts = np.diff(self._starts)
        share = energies / (energies + FLOOR * counts * variance)
        weights = share * counts
        weights = np.sqrt(weights / weights.sum())
        norms = np.sqrt(energies + FLOOR * counts * variance)
        target = x.ravel()[self._inside().numpy()] - np.repeat(means, counts)
        return weights, (target * np.repeat(weights / norms, counts)).astype(np.float32)

    def residuals(
        self, rendering: Float[Tensor, 'H W'], jacobian: Float[Tensor, 'H W 6']
    ) -> ResidualBlock:
        """Return r and its exact derivative; |r|^2 = 2 (1 - score)."""
        image, J = rendering.contiguous().numpy(), jacobian.contiguous().numpy()
        self._require_contrast(image)
        residual, J_r = patch_residuals(
            image,
            J,
            self._mask,
            self._boxes,
            self._starts,
            self._weights,
            self._target.astype(image.dtype),
            FLOOR,
        )
        return ResidualBlock(torch.from_numpy(residual), torch.from_numpy(J_r), self.cluster)

    def normal_equations(
        self,
        renderings: Float[Tensor, 'B H W'],
        jacobians: Float[Tensor, 'B H W n'],
        robust: Robust | None = None,
        patches: bool = False,
    ) -> NormalEquations:
        """Return cost, gradient and Gauss-Newton matrix of each rendering (`ImageSimilarity`)."""
        count = PATCHES**2 if patches else 0
        return of_residuals(self.residuals, renderings, jacobians, robust, count)

    def score(self, renderings: Float[Tensor, 'B H W']) -> Float[Tensor, 'B']:
        """Return 1 - |r|^2 / 2 of each rendering; -1 if it is constant."""
        none = np.zeros((*self._mask.shape, 0), np.float32)
        values = []
        for rendering in renderings:
            image = rendering.contiguous().numpy()
            if self._is_flat(image):
                values.append(-1.0)
                continue
            residual, _ = patch_residuals(
                image,
                none,
                self._mask,
                self._boxes,
                self._starts,
                self._weights,
                self._target.astype(image.dtype),
                FLOOR,
            )
            values.append(1.0 - float((residual.astype(np.float64) ** 2).sum()) / 2)
        return torch.tensor(values, dtype=renderings.dtype)

    def reweighted(self, rendering: Float[Tensor, 'H W']) -> 'LocalSimilarity':
        """Return itself: what a patch shows beside the CT does not reach the others."""
        return self

    def _is_flat(self, image: np.ndarray) -> bool:
        inside = image[self._mask]
        return not float(inside.std()) > 1e-6 * float(np.abs(inside).max())

    def _require_contrast(self, image: np.ndarray) -> None:
        if self._is_flat(image):
            raise no_overlap()


def _boxes(shape: torch.Size) -> np.ndarray:
    """Return first row, end row, first column, end column of every patch."""
    boxes = []
    for parts in DIVISIONS:
        for moved in (0.0, 0.5):
            rows, columns = (
                np.unique(np.clip(np.rint((np.arange(parts + 2) - moved) * n / parts), 0, n))
                for n in shape
            )
            boxes += [
                (a, b, c, d)
                for a, b in zip(rows[:-1], rows[1:], strict=True)
                for c, d in zip(columns[:-1], columns[1:], strict=True)
            ]
    return np.array(boxes, dtype=np.int64)
