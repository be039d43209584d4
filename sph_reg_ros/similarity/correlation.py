"""Cost and derivatives of a correlation, from Gram matrices alone."""

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from sph_reg_ros.similarity import gram, gram_kernel
from sph_reg_ros.similarity.normal_equations import NormalEquations, where_valid

SMALLEST_CONTRAST = 1e-9
"""Share of its sum of squares that an image must keep when what shall not count is taken off:
below, it is constant up to rounding."""


class CorrelationEquations:
    """Cost and derivatives of B images y with n slopes J, for each of p kinds of features.

    With N an orthonormal basis of what shall not count and E one of what predicts y, orthogonal to
    N:

        c = y - N N^T y,   r = c / |c| - E E^T c / |E E^T c|,   |r|^2 = 2 (1 - |E^T c| / |c|).

    All sums over r and its derivative J_r are polynomials in the products of y, J, N and E. With
    u = J^T c / |c|, J_N = N^T J, J_E = E^T J, e = E^T c, v = J_E^T e / |e|:

        J_r^T r = (u |e| / |c| - v) / |c|
        J_r^T J_r = (J^T J - J_N^T J_N - u u^T) / |c|^2
                    + (J_E^T J_E - v v^T) (1 / |e|^2 - 2 / |c| |e|)
    """

    def __init__(self, grams: Float64[Tensor, 'p B N M'], ignored: int, *, signed: bool) -> None:
        """Take Gram matrices.

        Args:
            grams: products of the n columns of J and of y, N = n + 1, with themselves, then with
                the basis N, then with E. Columns of 0 count for nothing.
            ignored: columns of the basis N.
            signed: E is one column, and a negative correlation is one.
        """
        size = grams.shape[-2]
        self._by_ignored = grams[..., size : size + ignored]
        self._by_predicting = grams[..., size + ignored :]
        self._signed = signed
        self._centred = grams[..., :size] - self._by_ignored @ self._by_ignored.mT
        energy = self._centred[..., -1:, -1]
        valid = energy > SMALLEST_CONTRAST * grams[..., -1:, size - 1]
        self.valid: Bool[Tensor, B] = valid[..., 0].all(0)
        # Where nothing is valid, any number does.
        self._energy = torch.where(valid, energy, 1.0)
        self._contrast = self._energy.sqrt()
        self._slopes, self._e = self._by_predicting[..., :-1, :], self._by_predicting[..., -1, :]
        length = self._e if signed else self._e.norm(dim=-1, keepdim=True).clamp(min=1e-12)
        self._length = length
        self._u = self._centred[..., :-1, -1] / self._contrast
        self._v = (self._slopes @ self._e[..., None])[..., 0] / length

    @property
    def cost(self) -> Float64[Tensor, 'p B']:
        """Return the sum of r^2."""
        return 2 * (1 - self._length / self._contrast)[..., 0]

    @property
    def gradient(self) -> Float64[Tensor, 'p B n']:
        """Return the sum of r J_r."""
        return (self._u * self._length / self._contrast - self._v) / self._contrast

    @property
    def hessian(self) -> Float64[Tensor, 'p B n n']:
        """Return the sum of J_r J_r^T."""
        hessian = (self._centred[..., :-1, :-1] - _outer(self._u)) / self._energy[..., None]
        if self._signed:
            return hessian
        factor = 1 / self._length.square() - 2 / (self._contrast * self._length)
        return hessian + factor[..., None] * (self._slopes @ self._slopes.mT - _outer(self._v))

    @property
    def residual_factors(self) -> Float64[Tensor, 'p B k']:
        """Return what r is of y, N and E."""
        of_ignored = -self._by_ignored[..., -1, :] / self._contrast
        return torch.cat([1 / self._contrast, of_ignored, -self._e / self._length], -1)

    def gradients_of_patches(self, sums: Float64[Tensor, 'p B P k']) -> Float64[Tensor, 'p B P n']:
        """Return the part of each patch in the gradient.

        Args:
            sums: products of r with J, y, N and E in each patch.
        """
        n = self._u.shape[-1]
        of_J, of_y = sums[..., :n], sums[..., n : n + 1]
        of_ignored, of_predicting = sums[..., n + 1 :].split_with_sizes(
            [self._by_ignored.shape[-1], self._e.shape[-1]], -1
        )
        u, contrast = self._u / self._contrast, self._contrast[..., None]
        a = self._by_ignored[..., -1, :]
        along_c = of_y - of_ignored @ a[..., None]
        found = of_J - along_c * u[..., None, :] - of_ignored @ self._by_ignored[..., :-1, :].mT
        if self._signed:
            return found / contrast
        across = self._slopes - self._v[..., None] * (self._e / self._length)[..., None, :]
        return found / contrast - of_predicting @ across.mT / self._length[..., None]


def mean_correlation(
    grams: Float64[Tensor, 'p B N M'], ignored: int, *, signed: bool
) -> NormalEquations:
    """Return the normal equations of the mean of all kinds; arguments as `CorrelationEquations`."""
    if gram.runs_compiled(grams):
        figures = gram_kernel.mean_correlation(grams.numpy(), ignored, signed, SMALLEST_CONTRAST)
        cost, gradient, hessian, valid = (torch.from_numpy(figure) for figure in figures)
        return NormalEquations(cost, gradient, hessian, valid)
    found = CorrelationEquations(grams, ignored, signed=signed)
    means = (figure.mean(0) for figure in (found.cost, found.gradient, found.hessian))
    return where_valid(found.valid, *means)


def _outer(vectors: Tensor) -> Tensor:
    return vectors[..., None] * vectors[..., None, :]
