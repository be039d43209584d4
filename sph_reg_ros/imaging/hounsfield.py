"""Hounsfield units in the smallest type that holds them."""

import numpy as np
from jaxtyping import Shaped

AIR_HU = -1000
INT16 = np.iinfo(np.int16)


class HounsfieldStack:
    """Collects the slices of a CT without a second copy of the volume.

    The volume is int16 as long as every slice is whole numbers in range, and turns to float32 at
    the first one that is not.
    """

    def __init__(self, shape: tuple[int, int, int]) -> None:
        """Reserve an int16 volume [K, J, I]."""
        self._volume: Shaped[np.ndarray, 'K J I'] = np.empty(shape, dtype=np.int16)

    def put(self, k: int, values: Shaped[np.ndarray, 'J I']) -> None:
        """Store slice k (HU)."""
        if self._volume.dtype == np.int16 and not fits_int16(values):
            self._volume = self._volume.astype(np.float32)
        self._volume[k] = values

    @property
    def volume(self) -> Shaped[np.ndarray, 'K J I']:
        """Return the volume [K, J, I], int16 or float32."""
        return self._volume


def fits_int16(values: Shaped[np.ndarray, '...']) -> bool:
    """Return whether int16 holds these values without loss."""
    if not np.isfinite(values).all():
        return False
    if values.min() < INT16.min or values.max() > INT16.max:
        return False
    return values.dtype.kind in 'iub' or bool((values == np.rint(values)).all())
