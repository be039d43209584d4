"""Which pixels of an X-ray measure attenuation: saturation, and the field that was exposed."""

import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor
from torch.nn import functional

from sph_reg_ros.imaging.xray.collimator import collimator_mask
from sph_reg_ros.imaging.xray.intensity import FULL_SCALES

__all__ = [
    'collimator_mask',
    'inside_circle',
    'inside_polygon',
    'inside_rectangle',
    'saturation_mask',
    'smooth_edges',
]

# Share of the image at exactly its brightest or darkest value from which that value is a limit.
_PLATEAU_SHARE = 0.005
# Of the image's range: by so much letters and beads stand out, two pixels from where they end.
_SHARP_STEP = 0.25
# Clipped pixels of 3 x 3 about one of them, from which they are more than noise.
_FEWEST_TOGETHER = 3


def saturation_mask(
    pixels: Float32[Tensor, 'H W'], *, plateau_share: float = _PLATEAU_SHARE
) -> Bool[Tensor, 'H W']:
    """Return True where a pixel measures something, False where it is clipped.

    Clipped are pixels at the brightest value if that is the full scale of an 8, 10, 12, 14 or 16
    bit encoding, at the darkest if that is zero, and at either if `plateau_share` of the image has
    exactly it. Saturated air is among them: it serves to estimate I0, but its pixels only say
    'at most this much attenuation', and a detector that clips air clips thin tissue too.

    Only images of whole numbers can be clipped in this sense: a flat background in a float
    image is that of a noise-free rendering, and stays usable.

    Args:
        pixels: image [H, W] as it came from the detector, bright or dark air alike.
        plateau_share: see above.
    """
    usable = torch.ones(pixels.shape, dtype=torch.bool, device=pixels.device)
    if not bool((pixels == pixels.round()).all()):
        return usable
    darkest, brightest = (float(value) for value in torch.aminmax(pixels))
    for value, is_limit in ((darkest, darkest == 0.0), (brightest, brightest in FULL_SCALES)):
        at_value = pixels == value
        if is_limit or float(at_value.float().mean()) >= plateau_share:
            usable &= ~at_value
    return usable


def smooth_edges(
    pixels: Float32[Tensor, 'H W'], measured: Bool[Tensor, 'H W']
) -> Bool[Tensor, 'H W']:
    """Return True for the neighbours of clipped pixels next to which the image changes sharply.

    Letters that are burned in, and opaque beads, are clipped; their smooth edges, which cover what
    lies behind as well, are not.

    Args:
        pixels: image [H, W].
        measured: its pixels that are not clipped (`saturation_mask`).
    """
    together = 9 * functional.avg_pool2d((~measured).float()[None], 3, 1, 1, True)[0]
    clipped = ~measured & (together > _FEWEST_TOGETHER - 0.5)
    darkest, brightest = torch.aminmax(pixels)
    span = brightest - darkest
    far = torch.zeros_like(clipped)
    for sign in (1, -1):
        change = _largest_around(sign * pixels, 5) - sign * pixels
        far |= change > _SHARP_STEP * span
    return measured & (_largest_around((clipped & far).float(), 3) > 0)


def _largest_around(image: Float32[Tensor, 'H W'], side: int) -> Float32[Tensor, 'H W']:
    return functional.max_pool2d(image[None], side, 1, side // 2)[0]


def inside_rectangle(
    size: tuple[int, int], rows: tuple[float, float], columns: tuple[float, float]
) -> Bool[Tensor, 'H W']:
    """Return True for pixels between the given rows and columns (0-based, both ends included)."""
    v, u = _pixel_grid(size)
    return (v >= rows[0]) & (v <= rows[1]) & (u >= columns[0]) & (u <= columns[1])


def inside_circle(
    size: tuple[int, int], centre: tuple[float, float], radius: float
) -> Bool[Tensor, 'H W']:
    """Return True for pixels within `radius` of `centre` = (row, column), 0-based."""
    v, u = _pixel_grid(size)
    return (v - centre[0]) ** 2 + (u - centre[1]) ** 2 <= radius**2


def inside_polygon(size: tuple[int, int], vertices: Float[Tensor, 'n 2']) -> Bool[Tensor, 'H W']:
    """Return True for pixels inside the polygon of (row, column) vertices (even-odd rule)."""
    v, u = _pixel_grid(size)
    inside = torch.zeros(size, dtype=torch.bool)
    for (v0, u0), (v1, u1) in zip(
        vertices.tolist(), vertices.roll(-1, dims=0).tolist(), strict=True
    ):
        if v0 == v1:
            continue
        crosses = (v0 > v) != (v1 > v)
        inside ^= crosses & (u < (u1 - u0) * (v - v0) / (v1 - v0) + u0)
    return inside


def _pixel_grid(size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    return torch.arange(size[0]).double()[:, None], torch.arange(size[1]).double()[None, :]
