"""Products of tall matrices."""

import torch
from jaxtyping import Float, Float64
from torch import Tensor

ROWS_AT_ONCE = 1024


def inner(a: Float[Tensor, 'n p'], b: Float[Tensor, 'n q']) -> Float64[Tensor, 'p q']:
    """Return a^T b, sums over more than a thousand rows in float64.

    One product of all rows adds up float32 row by row: an error of 1e-5 for a small image already.
    """
    count = len(a) // ROWS_AT_ONCE
    even = count * ROWS_AT_ONCE
    parts = a[:even].reshape(count, ROWS_AT_ONCE, a.shape[1]).mT @ b[:even].reshape(
        count, ROWS_AT_ONCE, b.shape[1]
    )
    return parts.sum(0, dtype=torch.float64) + (a[even:].T @ b[even:]).double()
