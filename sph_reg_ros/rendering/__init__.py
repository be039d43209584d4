"""Digitally reconstructed radiographs and their exact derivative by the pose."""

from sph_reg_ros.rendering.render import (
    BACKENDS,
    TWIST_LENGTH_MM,
    render,
    render_with_jacobian,
    resolve_backend,
)

__all__ = ['BACKENDS', 'TWIST_LENGTH_MM', 'render', 'render_with_jacobian', 'resolve_backend']
