"""What all compiled loops share: one pool of threads, which torch leaves alone."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import numba
import torch

# Two OpenMP pools, torch's and numba's, would spin for work against each other whenever the solver
# goes from one to the other (70 times slower algebra on 2 cores). Numba's own pool sleeps instead,
# but must not be entered by two threads at once.
if 'NUMBA_THREADING_LAYER' not in os.environ:
    numba.config.THREADING_LAYER = 'workqueue'
ONE_CALL_AT_A_TIME = Lock()
"""To be held while a parallel loop runs."""


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Let torch compute in the calling thread alone, as long as this lasts.

    Its second thread gains little on small tensors, and after each of them spins for a while on a
    core that the compiled loops need: on two busy cores a registration took three times as long.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
