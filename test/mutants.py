"""Files that are almost right: bytes flipped, cut, doubled, overwritten by telling values."""

from collections.abc import Iterator

import numpy as np

TELLING = [
    b'\xff\xff\xff\xff', b'\x00\x00\x00\x00', b'\xff\xff\xff\x7f', b'SQ', b'UN', b'DS', b'-1',
    b'\xfe\xff\x00\xe0', b'\xfe\xff\xdd\xe0', b'1e9999', b'\\\\\\', b'nan',
]  # fmt: skip


def mutants(content: bytes, count: int, *, seed: int) -> Iterator[bytes]:
    """Yield variants of a file; the first 132 bytes, which say what it is, mostly stay."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        mutant = bytearray(content)
        for _ in range(rng.integers(1, 5)):
            mutate(mutant, rng)
        yield bytes(mutant)


def mutate(mutant: bytearray, rng: np.random.Generator) -> None:
    at = int(rng.integers(132 if rng.random() < 0.98 else 0, max(len(mutant), 133)))
    match int(rng.integers(5)):
        case 0:
            mutant[at : at + 1] = bytes([int(rng.integers(256))])
        case 1:
            telling = TELLING[rng.integers(len(TELLING))]
            mutant[at : at + len(telling)] = telling
        case 2:
            del mutant[at : at + int(rng.integers(1, 9))]
        case 3:
            mutant[at:at] = mutant[at : at + int(rng.integers(1, 64))]
        case 4:
            if rng.random() < 0.2:
                del mutant[at:]
