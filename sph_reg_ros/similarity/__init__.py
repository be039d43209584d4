"""Similarities of X-ray and rendering, as residual vectors that one solver serves."""

from sph_reg_ros.similarity.normal_equations import NormalEquations, of_blocks, sum_of
from sph_reg_ros.similarity.protocol import ImageSimilarity
from sph_reg_ros.similarity.registry import IMAGE_SIMILARITIES, prepare_similarity
from sph_reg_ros.similarity.residual import ResidualBlock
from sph_reg_ros.similarity.robust import Robust, RobustKernel

__all__ = [
    'IMAGE_SIMILARITIES',
    'ImageSimilarity',
    'NormalEquations',
    'ResidualBlock',
    'Robust',
    'RobustKernel',
    'of_blocks',
    'prepare_similarity',
    'sum_of',
]
