"""Similarities of X-ray and rendering, as residual vectors that one solver serves."""

from sph_reg_ros.similarity.image import ncc, ncc_residual
from sph_reg_ros.similarity.residual import ResidualBlock

__all__ = ['ResidualBlock', 'ncc', 'ncc_residual']
