"""Normalised correlation of features after a linear fit: NCC, and NCC with an intensity map."""

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from sph_reg_ros.similarity.features import Features
from sph_reg_ros.similarity.gram import FixedImages, inner
from sph_reg_ros.similarity.patches import no_overlap
from sph_reg_ros.similarity.residual import ResidualBlock
from sph_reg_ros.similarity.weights import inlier_weights, orthonormal

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
        ignored: Float64[Tensor, 'n a'],
        predicting: Float64[Tensor, 'n b'],
        *,
        signed: bool,
        weight: Float64[Tensor, 'n'] | None = None,
    ) -> None:
        """Orthogonalise; raises SolverError NO_OVERLAP if the X-ray predicts nothing."""
        self.features, self.signed = features, signed
        self._ignored, self._predicting, self._weight = ignored, predicting, weight
        root = torch.ones(()) if weight is None else weight.sqrt()[:, None]
        N = orthonormal(ignored * root, ignored)
        weighted = predicting * root
        E = orthonormal(weighted - N @ (N.T @ weighted), predicting)
        if E.shape[1] == 0:
            raise no_overlap()
        if signed:
            E = E * torch.sign(E[:, 0] @ weighted[:, 0])
        self._root = None if weight is None else root.float()
        self._N, self._E = N.float(), E.float()
        self.ignored, self.predicting = N.shape[1], E.shape[1]

    @classmethod
    def plain(cls, features: Features, target: Float[Tensor, 'n']) -> 'ProjectedFeatures':
        """Return the correlation with `target`, the features of the X-ray."""
        offset = torch.ones(len(target), int(features.has_offset), dtype=torch.float64)
        if not target.abs().max() > 0:
            raise no_overlap()
        return cls(features, offset, target.double()[:, None], signed=True)

    @classmethod
    def mapped(
        cls, features: Features, basis: tuple[Float64[Tensor, 'H W a'], Float64[Tensor, 'H W b']]
    ) -> 'ProjectedFeatures':
        """Return the correlation with the best map of the X-ray (`intensity_map.map_basis`)."""
        place, shaped = (features.of_channels(images) for images in basis)
        return cls(features, place, shaped, signed=False)

    def reweighted(self, rendering: Float[Tensor, 'H W']) -> 'ProjectedFeatures':
        """Return the same similarity with low weights where the X-ray shows what the CT lacks.

        Raises:
            SolverError: NO_OVERLAP if the rendering is constant.
        """
        y = self.features.of_image(self._anchored(rendering)).double()
        self._contrast(y, y)
        basis = torch.cat([self._ignored, self._predicting], 1)
        weight = inlier_weights(y, basis, self._weight, self.features.components)
        return ProjectedFeatures(
            self.features, self._ignored, self._predicting, signed=self.signed, weight=weight
        )

    def residuals(
        self, rendering: Float[Tensor, 'H W'], jacobian: Float[Tensor, 'H W 6']
    ) -> ResidualBlock:
        """Return r and its exact derivative, in the rendering's precision."""
        N, E = self._N.to(rendering.dtype), self._E.to(rendering.dtype)
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

    def fixed_images(self, ignored: int) -> FixedImages:
        """Return what product sums need, for Gram matrices with room for `ignored` columns of N."""
        basis = torch.cat([self._N, self._E], 1)
        root = torch.ones_like(basis[:, :1]) if self._root is None else self._root
        place = torch.cat([torch.arange(self.ignored), ignored + torch.arange(self.predicting)])
        return FixedImages(
            self.features,
            self.features.as_images(root.square())[0, 0],
            self.features.as_images(root * basis),
            place,
        )

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
        return values if self._root is None else values * self._root

    @staticmethod
    def _contrast(centred: Tensor, y: Tensor) -> float:
        size = float(centred.norm())
        if not size > _SMALLEST_CONTRAST * len(y) ** 0.5 * float(y.abs().max()):
            raise no_overlap()
        return size
