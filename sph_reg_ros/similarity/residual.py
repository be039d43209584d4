"""What every similarity gives to the solver."""

from dataclasses import dataclass

from jaxtyping import Float, Int64
from torch import Tensor


@dataclass(frozen=True)
class ResidualBlock:
    """Residuals of one view and their derivative; the solver minimises the sum of squares.

    Attributes:
        residual: [n].
        jacobian: [n, 6], derivative by xi = (omega, v / TWIST_LENGTH_MM), camera axes.
        cluster: [n], which patch of the image a residual lies in: residuals of one patch err
            together, those of different patches hardly do.
        weight: [n], non-negative factor of each squared residual; None is 1 for all.
    """

    residual: Float[Tensor, 'n']
    jacobian: Float[Tensor, 'n 6']
    cluster: Int64[Tensor, 'n']
    weight: Float[Tensor, 'n'] | None = None
