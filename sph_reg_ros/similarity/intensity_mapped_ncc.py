"""Normalised correlation of features after a linear fit: NCC, and NCC with an intensity map."""

from copy import copy
from functools import cached_property

import torch
from jaxtyping import Float, Float32
from torch import Tensor

from sph_reg_ros.similarity.features import Features
from sph_reg_ros.similarity.gram import FixedImages, in_blocks, inner
from sph_reg_ros.similarity.patches import no_overlap
from sph_reg_ros.similarity.residual import ResidualBlock
from sph_reg_ros.similarity.weights import inlier_weights, orthonormal_under

# A rendering whose contrast is below this share of its values is constant up to rounding.
_SMALLEST_CONTRAST = 1e-6


class ProjectedFeatures:
    """Correlation of a rendering's features with the best prediction that the X-ray allows.

    With y the features of the rendering, N an orthonormal basis of what shall not count (offset,
    smooth drift) and E one of what the X-ray predicts, orthogonal to N:

        c = y - N N^T y,   r = c / |c| - E E^T c / |E E^T c|,   |r|^2 = 2 (1 - |E^T c| / |c|).

    The fit of the map's coefficients is thereby done inside the residual (variable projection:
    Golub and Pereyra, SIAM J. Numer. Anal. 10(2), 1973). A single column E, the X-ray itself, whose
    sign is kept, gives the normalised cross-correlation. With weights, the norms, the fit and the
    residuals are weighted ones.

    Attributes:
        features: which ones.
        signed: whether the sign counts.
        ignored: columns of N.
        predicting: columns of E.
    """

    def __init__(
        self,
        features: Features,
        ignored: Float32[Tensor, 'n a'],
        predicting: Float32[Tensor, 'n b'],
        *,
        signed: bool,
    ) -> None:
        """Orthogonalise; raises SolverError NO_OVERLAP if the X-ray predicts nothing."""
        self.features, self.signed = features, signed
        columns = torch.cat([ignored, predicting], 1)
        N_of, E_of = orthonormal_under(inner(columns, columns), ignored.shape[1])
        if E_of.shape[1] == 0:
            raise no_overlap()
        # Nearly orthonormal, so that rounding is least; `_set_weight` makes it exact.
        self._basis = columns @ torch.cat([N_of, E_of], 1).float()
        self._first = N_of.shape[1]
        everywhere = torch.ones_like(self._basis[:, :1])
        self._places = in_blocks(features.as_images(everywhere)[0, 0])
        self._images = in_blocks(features.as_images(self._basis)).transpose(0, 1).contiguous()
        self._set_weight(None)

    def _set_weight(self, weight: Float32[Tensor, 'n'] | None) -> None:
        """Say what N and E are made of under a weight."""
        self._weight = weight
        self.__dict__.pop('_bases', None)
        # The weighted basis as product sums have it, in float32.
        weighted = self._basis if weight is None else self._basis * weight[:, None]
        products = weighted.double().T @ self._basis.double()
        self._N_of, self._E_of = orthonormal_under(products, self._first)
        self.ignored, self.predicting = self._N_of.shape[1], self._E_of.shape[1]

    @cached_property
    def _bases(self) -> tuple[Float32[Tensor, 'n a'], Float32[Tensor, 'n b']]:
        """Return N and E."""
        basis = self._weighted(self._basis.double())
        return (basis @ self._N_of).float(), (basis @ self._E_of).float()

    @classmethod
    def plain(cls, features: Features, target: Float[Tensor, 'n']) -> 'ProjectedFeatures':
        """Return the correlation with `target`, the features of the X-ray."""
        offset = torch.ones(len(target), int(features.has_offset))
        if not target.abs().max() > 0:
            raise no_overlap()
        return cls(features, offset, target.float()[:, None], signed=True)

    @classmethod
    def mapped(
        cls, features: Features, basis: tuple[Float32[Tensor, 'H W a'], Float32[Tensor, 'H W b']]
    ) -> 'ProjectedFeatures':
        """Return the correlation with the best map of the X-ray (`intensity_map.map_basis`)."""
        place, shaped = (features.of_channels(images) for images in basis)
        return cls(features, place, shaped, signed=False)

    def reweighted(self, rendering: Float[Tensor, 'H W']) -> 'ProjectedFeatures':
        """Return the same similarity with low weights where the X-ray shows what the CT lacks.

        Raises:
            SolverError: NO_OVERLAP if the rendering is constant.
        """
        y = self.features.of_image(self._anchored(rendering)).float()
        self._contrast(y, y)
        found = copy(self)
        found._set_weight(inlier_weights(y, self._basis, self._weight, self.features.components))
        return found

    def residuals(
        self, rendering: Float[Tensor, 'H W'], jacobian: Float[Tensor, 'H W 6']
    ) -> ResidualBlock:
        """Return r and its exact derivative, in the rendering's precision."""
        N, E = (basis.to(rendering.dtype) for basis in self._bases)
        y = self._weighted(self.features.of_channels(self._anchored(rendering)[..., None]))
        J = self._weighted(self.features.of_channels(jacobian))
        c = y - N @ inner(N, y).to(y.dtype)
        size = self._contrast(c, y)
        c /= size
        prediction, slope = self._prediction(inner(E, c)[:, 0], inner(E, J) / size)
        # d(y / |y|) = (I - y y^T) dy / |y|: scaling to unit norm removes the part along y.
        J_N = inner(N, J) / size
        along = inner(c, J) / size - inner(c, N) @ J_N
        basis, slopes = torch.cat([N, E, c], 1), torch.cat([J_N, slope, along]).to(y.dtype)
        return ResidualBlock(
            c[:, 0] - E @ prediction.to(y.dtype),
            torch.addmm(J, basis, slopes, beta=1 / size, alpha=-1),
            self.features.cluster,
        )

    def fixed_images(self, ignored: int, predicting: int) -> FixedImages:
        """Return what product sums need, for so many columns of N and E; those beyond are 0."""
        made_of = torch.zeros(len(self._N_of), ignored + predicting, dtype=torch.float64)
        made_of[:, : self.ignored] = self._N_of
        made_of[:, ignored : ignored + self.predicting] = self._E_of
        places, images = self._places, self._images
        if self._weight is not None:
            places = in_blocks(self.features.as_images(self._weight[:, None])[0, 0])
            images = images * places[:, None]
        return FixedImages(self.features, self.features.anchoring, places, images, made_of)

    def _prediction(self, e: Tensor, J_e: Tensor) -> tuple[Tensor, Tensor]:
        """Return the coefficients e / |e|, and their derivative; constant for a single column."""
        if self.signed:
            return torch.ones_like(e), torch.zeros_like(J_e)
        size = e.norm().clamp(min=1e-12)
        e = e / size
        return e, (J_e - torch.outer(e, e @ J_e)) / size

    def _anchored(self, images: Float[Tensor, '*b H W']) -> Float[Tensor, '*b H W']:
        # No offset counts; without it a constant image is exactly zero and rounding is least.
        return images - images.flatten(-2)[..., self.features.anchor, None, None]

    def _weighted(self, values: Float[Tensor, 'n C']) -> Float[Tensor, 'n C']:
        return values if self._weight is None else values * self._weight.sqrt().to(values)[:, None]

    @staticmethod
    def _contrast(centred: Tensor, y: Tensor) -> float:
        size = float(centred.norm())
        if not size > _SMALLEST_CONTRAST * len(y) ** 0.5 * float(y.abs().max()):
            raise no_overlap()
        return size
