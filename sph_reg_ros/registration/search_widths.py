"""How widely to search around an initial pose whose covariance is known."""

from dataclasses import replace

from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.registration.config import RegistrationConfig

RANGES = {
    'search_rotation_rad': (0.02, 0.5),
    'search_in_plane_mm': (2.0, 50.0),
    'search_depth_mm': (5.0, 120.0),
}
"""Below, the result's own error would be taken for a mistake; beyond, a search takes long."""


def with_widths_of(
    config: RegistrationConfig, covariance: Float64[Tensor, '6 6']
) -> tuple[RegistrationConfig, tuple[str, ...]]:
    """Return settings whose search is as wide as an initial pose is uncertain, and warnings.

    The checks judge by the same widths how far the result may lie from the initial pose. Rotations,
    and shifts in the image plane, are as uncertain as the worst axis of their kind.

    Args:
        config: whose widths serve where the covariance says nothing: where its block of rotations
            or of shifts is zero.
        covariance: of rotation (rad) and shift of the anatomy's centre (mm), camera axes.
    """
    deviations = covariance.diagonal().clamp(min=0).sqrt()
    stated = {
        'search_rotation_rad': float(deviations[:3].max()),
        'search_in_plane_mm': float(deviations[3:5].max()),
        'search_depth_mm': float(deviations[5]),
    }
    known = {
        name
        for name, block in zip(stated, (slice(0, 3), slice(3, 6), slice(3, 6)), strict=True)
        if bool(deviations[block].any())
    }
    widths = {name: min(max(stated[name], RANGES[name][0]), RANGES[name][1]) for name in known}
    warnings = tuple(
        f'the covariance of the initial pose asks for {name} {stated[name]:.3g}: '
        f'{widths[name]:g} is used'
        for name in stated
        if name in known and widths[name] != stated[name]
    )
    return replace(config, **widths), warnings  # type: ignore[arg-type]
