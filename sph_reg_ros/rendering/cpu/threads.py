"""What all compiled loops share: one pool of threads."""

import os
from threading import Lock

import numba

# Two OpenMP pools, torch's and numba's, would spin for work against each other whenever the solver
# goes from one to the other (70 times slower algebra on 2 cores). Numba's own pool sleeps instead,
# but must not be entered by two threads at once.
if 'NUMBA_THREADING_LAYER' not in os.environ:
    numba.config.THREADING_LAYER = 'workqueue'
ONE_CALL_AT_A_TIME = Lock()
"""To be held while a parallel loop runs."""
