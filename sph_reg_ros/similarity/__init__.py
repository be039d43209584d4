"""Similarities of X-ray and rendering, as residual vectors that one solver serves."""

from sph_reg_ros.similarity.prepare import (
    IMAGE_SIMILARITIES,
    ImageSimilarity,
    prepare_similarity,
)
from sph_reg_ros.similarity.residual import ResidualBlock

__all__ = [
    'IMAGE_SIMILARITIES',
    'ImageSimilarity',
    'ResidualBlock',
    'prepare_similarity',
]
