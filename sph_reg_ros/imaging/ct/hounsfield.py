"""Hounsfield units: the smallest type that holds them, and whether values look like them."""

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float32, Int16, Shaped

AIR_HU = -1000
INT16 = np.iinfo(np.int16)

AIR_AND_TISSUE_HU = (-500, 0)
NOT_HU = 'no air or no tissue: are these HU?'
SHIFTED_TISSUE_HU, FEW_HU, SHIFTED_SHARE = (850, 1250), (300, 800), 0.15
"""Where stored values, about 1000 higher, have soft tissue; where they have hardly anything."""
MOST_HU = 31_000
"""Metal on an extended scale ends at 30710."""
_SAMPLES = 1 << 20


Empty = Callable[[tuple[int, ...], type[np.float32]], Float32[np.ndarray, '...']]
"""Reserves memory, as numpy.empty does."""


class HounsfieldStack:
    """Collects the slices of a CT without a second copy of the volume.

    The volume is int16 as long as every slice is whole numbers in range, and turns to float32 at
    the first one that is not. Memory is reserved for float32; what is not written to is not used.
    """

    def __init__(self, shape: tuple[int, int, int], empty: Empty = np.empty) -> None:
        """Reserve a volume [K, J, I]."""
        self._floats = empty(shape, np.float32)
        self._whole: Int16[np.ndarray, 'K J I'] | None = (
            self._floats.reshape(-1).view(np.int16)[: math.prod(shape)].reshape(shape)
        )

    def put(self, k: int, values: Shaped[np.ndarray, 'J I']) -> None:
        """Store slice k (HU); the slices before it are there already."""
        if self._whole is not None and not fits_int16(values):
            # From the last on: a slice of floats covers the one it is made of, and later ones.
            for n in range(k - 1, -1, -1):
                self._floats[n] = self._whole[n].copy()
            self._whole = None
        with np.errstate(over='ignore'):  # too large for float32 becomes infinite, which is refused
            self.volume[k] = values

    @property
    def volume(self) -> Shaped[np.ndarray, 'K J I']:
        """Return the volume [K, J, I], int16 or float32."""
        return self._floats if self._whole is None else self._whole


def fits_int16(values: Shaped[np.ndarray, '...']) -> bool:
    """Return whether int16 holds these values without loss."""
    if values.dtype == np.int16:
        return True
    if not np.isfinite(values).all():
        return False
    if values.min() < INT16.min or values.max() > INT16.max:
        return False
    return values.dtype.kind in 'iub' or bool((values == np.rint(values)).all())


def range_text(values: Shaped[np.ndarray, 'K J I']) -> str:
    """Return the range of values, and the doubts if they do not look like Hounsfield units."""
    low, high = float(values.min()), float(values.max())
    return ' - '.join([f'{low:g} to {high:g} HU', *_doubts(values, low, high)])


def hounsfield_doubts(values: Shaped[np.ndarray, 'K J I']) -> tuple[str, ...]:
    """Return why the values of a CT may be no Hounsfield units, with their range; () if they are.

    Labels, values of 0 to 1 or 0 to 255, stored values without the rescale intercept and clipped
    windows lack air or tissue; where padding looks like air, tissue is at 1000 instead of 0.
    """
    low, high = float(values.min()), float(values.max())
    return tuple(f'{low:g} to {high:g} HU - {doubt}' for doubt in _doubts(values, low, high))


def _doubts(values: Shaped[np.ndarray, 'K J I'], low: float, high: float) -> list[str]:
    air, tissue = AIR_AND_TISSUE_HU
    doubts = []
    if not (low < air and high > tissue):
        doubts.append(NOT_HU)
    elif _is_shifted(values):
        doubts.append('tissue lies at about 1000, not 0: are these HU?')
    if high > MOST_HU:
        doubts.append('more than any metal: is this padding that the header does not declare?')
    return doubts


def _is_shifted(values: Shaped[np.ndarray, 'K J I']) -> bool:
    """Return whether more voxels are where stored values have soft tissue than are just below.

    Bone is spread over both.
    """
    # Of a sample of the voxels; an odd step meets all columns.
    step = max(1, values.size // _SAMPLES) | 1
    sample = values.reshape(-1)[::step]
    solid = sample[sample > AIR_AND_TISSUE_HU[0]]
    if not solid.size:
        return False
    shifted, few = (
        float(((solid > low) & (solid < high)).mean()) for low, high in (SHIFTED_TISSUE_HU, FEW_HU)
    )
    return shifted > SHIFTED_SHARE and shifted > 2 * few
