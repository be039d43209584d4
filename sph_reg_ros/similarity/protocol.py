"""What every image similarity offers, whatever it compares."""

from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from sph_reg_ros.similarity.normal_equations import NormalEquations
from sph_reg_ros.similarity.residual import ResidualBlock
from sph_reg_ros.similarity.robust import Robust


class ImageSimilarity(Protocol):
    """How well renderings agree with one X-ray.

    Everything that depends on the X-ray alone was computed when this object was made. Its methods
    raise SolverError NO_OVERLAP where the rendering is constant within the mask.
    """

    def on(self, device: torch.device) -> 'ImageSimilarity':
        """Return the similarity for renderings on a device; X-rays are prepared on the CPU.

        There, sizes and choices that depend on an X-ray's content make nobody wait.
        """

    def residuals(
        self, rendering: Float[Tensor, 'H W'], jacobian: Float[Tensor, 'H W 6']
    ) -> ResidualBlock:
        """Return r with |r|^2 = 2 (1 - score), and its exact derivative by the pose."""

    def normal_equations(
        self,
        renderings: Float[Tensor, 'B H W'],
        jacobians: Float[Tensor, 'B H W n'],
        robust: Robust | None = None,
        patches: bool = False,
    ) -> NormalEquations:
        """Return cost 2 (1 - score), its half gradient and Gauss-Newton matrix for each rendering.

        Rows whose rendering is constant within the mask are not valid; nothing is raised.

        Args:
            renderings: line integrals.
            jacobians: their derivatives by any n unknowns.
            robust: robust kernel of the residuals; none if None.
            patches: whether gradients of patches are wanted, as the covariance needs them.
        """

    def score(self, renderings: Float[Tensor, 'B H W']) -> Float[Tensor, 'B']:
        """Return the similarity of each rendering, 1 for a perfect one; -1 if it is constant."""

    def reweighted(self, rendering: Float[Tensor, 'H W']) -> 'ImageSimilarity':
        """Return the similarity with low weights where the X-ray shows what the CT lacks.

        Judged at a pose that is nearly right: the solver's result of a level, after which the
        level is solved once more, or the start of the next. Weights are new, not piled up.
        """
