"""Sums over blocks of voxels, compiled."""

from numba import njit


@njit(cache=True, nogil=True)
def add_block_sums(padded, block, factors, sums):  # type: ignore[no-untyped-def]
    """Add up one layer of blocks of a zero-padded volume.

    Args:
        padded: [K+2, J+2, I+2].
        block: index of the layer.
        factors: voxels of a block along k, j, i.
        sums: [J', I'] of the layer; added to.
    """
    slices, rows, columns = padded.shape
    first = block * factors[0] + 1
    for k in range(first, min(first + factors[0], slices - 1)):
        for j in range(rows - 2):
            row, target = padded[k, j + 1], sums[j // factors[1]]
            for n in range(target.shape[0]):
                total = 0
                for i in range(1 + n * factors[2], min(1 + (n + 1) * factors[2], columns - 1)):
                    total += row[i]
                target[n] += total
