"""Names that settings may take; they are needed without torch, which takes seconds to import."""

METHODS = ('spherical', 'image')
SIMILARITIES = (
    'ncc',
    'local_ncc',
    'gradient_ncc',
    'mapped_ncc',
    'mapped_gradient_ncc',
    'mapped_ncc+gradient',
)
ROBUST_KERNELS = ('none', 'huber', 'cauchy', 'tukey')
