"""The renderer of CPUs, compiled by numba."""
