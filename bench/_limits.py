"""What this machine can do at best: read memory in order, gather from the cache, multiply-add."""

import time

import numba
import numpy as np
import torch
from _interleaved import synchronise
from numba import njit, prange
from numpy.typing import NDArray

RUNS = 20
CHUNK = 2**16
CACHED = 2**11
LANES = 256
# Long enough to outweigh the start of the threads.
TURNS = 4000
# Of the arithmetic that one sample takes at least: two neighbours share a fetch of 32 bits, seven
# interpolations give V; with the Jacobian come the slopes and six more sums.
FETCHES = 4
MULTIPLY_ADDS = {'image': 20, 'image + Jacobian': 34}


def reading_gb_per_s(device: str) -> float:
    """Return the speed at which a sum reads 256 MB in order (GB = 1e9 bytes)."""
    if device == 'cuda':
        numbers = torch.ones(2**28, device=device)
        return numbers.nbytes / _fastest(lambda: numbers.sum()) / 1e9
    values = np.ones(2**26, np.float32)
    return values.nbytes / _fastest(lambda: _sum(values)) / 1e9


def arithmetic_ns_per_sample() -> dict[str, float]:
    """Return the least ns a sample and core by kind: the fetches or the sums, whichever is more."""
    values = np.random.default_rng(0).integers(0, 2**15, CACHED).astype(np.int32)
    order = np.random.default_rng(1).integers(0, CACHED, CACHED).astype(np.uint32)
    cores = numba.get_num_threads()
    out = np.zeros((cores, LANES), np.float32)
    fetch_ns = 1e9 * _fastest(lambda: _gather(values, order, TURNS, out)) / (TURNS * CACHED)
    add_ns = 1e9 * _fastest(lambda: _multiply_add(100 * TURNS, out)) / (100 * TURNS * LANES)
    return {kind: max(FETCHES * fetch_ns, n * add_ns) for kind, n in MULTIPLY_ADDS.items()}


def _fastest(run) -> float:  # type: ignore[no-untyped-def]
    seconds = []
    for _ in range(RUNS + 1):
        synchronise()
        start = time.perf_counter()
        run()
        synchronise()
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


@njit(parallel=True, fastmath=True, nogil=True)
def _sum(values: NDArray) -> float:
    total = 0.0
    for job in prange(values.size // CHUNK):
        part = np.float32(0)
        for i in range(job * CHUNK, (job + 1) * CHUNK):
            part += values[i]
        total += part
    return total


@njit(parallel=True, fastmath=True, nogil=True)
def _gather(values: NDArray, order: NDArray, turns: int, out: NDArray) -> None:
    for core in prange(out.shape[0]):
        total = np.int32(core)
        for turn in range(turns):
            shift = np.int32(turn)
            for i in range(order.size):
                total += values[order[i]] ^ shift
        out[core, 0] = total


@njit(parallel=True, fastmath=True, nogil=True)
def _multiply_add(turns: int, out: NDArray) -> None:
    for core in prange(out.shape[0]):
        lanes = np.full(LANES, np.float32(core))
        for turn in range(turns):
            factor = np.float32(1e-3 * (turn % 7))
            for i in range(LANES):
                lanes[i] = lanes[i] * factor + factor
        out[core] = lanes
