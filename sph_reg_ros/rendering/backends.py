"""Names of the renderers; settings need them without torch, which takes seconds to import."""

BACKENDS = ('auto', 'numba', 'triton', 'torch', 'diffdrr')
DEVICES = ('auto', 'cpu', 'cuda')
