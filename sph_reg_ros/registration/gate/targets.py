"""The region of interest."""

from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.geometry.box import TRUNK_HALF_SIZE_MM, landmarks_within
from sph_reg_ros.imaging.attenuation import AttenuationVolume


def target_points(volume: AttenuationVolume) -> Float64[Tensor, '14 3']:
    """Return corners and face centres of the box, cut to the CT's own size; CT coordinates (mm)."""
    extent = (volume.corners.amax(0) - volume.corners.amin(0)).tolist()
    return landmarks_within(volume.centre.cpu(), TRUNK_HALF_SIZE_MM, extent)
