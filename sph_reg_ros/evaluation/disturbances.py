"""Disturbances of real X-rays that renderings lack, alone and in random combinations."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt16

from sph_reg_ros.evaluation.blur import gaussian_blur

DISTURBANCES = ('gamma', 'scatter', 'hardening', 'collimator', 'instrument')
GAMMAS = (0.7, 1.4)
SCATTER_TO_PRIMARY = (0.2, 1.0)
TUBE_KV = (70.0, 120.0)
_SCATTER_SIGMA_SHARE = 0.15
_LEAF_TRANSMISSION = 0.002
_LEAF_SHARE = (0.03, 0.18)
_LOWEST_LINE_KEV, _LINE_STEP_KEV = 40.0, 10.0


@dataclass(frozen=True)
class Disturbances:
    """Which disturbances one X-ray has.

    Attributes:
        names: a selection of DISTURBANCES; empty for noise only.
    """

    names: frozenset[str] = frozenset()

    def __contains__(self, name: str) -> bool:
        """Return whether a disturbance is among them."""
        return name in self.names


def draw_disturbances(generator: np.random.Generator) -> Disturbances:
    """Draw a combination: each with probability 1/2, at least one."""
    while True:
        chosen = generator.uniform(size=len(DISTURBANCES)) < 0.5
        if chosen.any():
            names = (name for name, on in zip(DISTURBANCES, chosen, strict=True) if on)
            return Disturbances(frozenset(names))


def change_intensity(
    counts: UInt16[np.ndarray, 'H W'], gamma: float, open_beam: float, scale: float
) -> UInt16[np.ndarray, 'H W']:
    """Bend the line integrals L of an image: L -> scale (L / scale)^gamma, monotone.

    What is brighter than the open beam, noise, is mirrored at it.

    Args:
        counts: the image.
        gamma: exponent; 1 changes nothing.
        open_beam: counts where L = 0.
        scale: line integral that stays as it is, about the largest of the anatomy.
    """
    integrals = -np.log(np.maximum(counts, 0.5) / open_beam)
    bent = np.sign(integrals) * scale * (np.abs(integrals) / scale) ** gamma
    return np.clip(np.rint(open_beam * np.exp(-bent)), 0, 2**16 - 1).astype(np.uint16)


def scattered_light(
    transmission: Float32[np.ndarray, 'H W'],
    scatter_to_primary: float,
    exposed: Float32[np.ndarray, 'H W'],
) -> Float32[np.ndarray, 'H W']:
    """Return smooth light that the body adds to the image.

    Its source is T log(1 / T), nothing where there is no body and little behind thick parts
    (B. Ohnesorge et al., Eur. Radiol. 9, 1999), spread by a Gaussian of 15 % of the image.

    Args:
        transmission: T, share of the open beam behind the body alone.
        scatter_to_primary: median ratio in the middle of the image.
        exposed: share of the beam that the collimator lets through to the body.
    """
    source = exposed * transmission * -np.log(np.clip(transmission, 1e-12, 1.0))
    spread = gaussian_blur(source.astype(np.float32), _SCATTER_SIGMA_SHARE * max(source.shape))
    now = np.median(middle(spread) / np.maximum(middle(transmission), 1e-12))
    return spread * np.float32(scatter_to_primary / max(now, 1e-12))


def wide_spectrum(tube_kv: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return lines (keV) and detected shares of a tube: (kV - E), Kramers, Phil. Mag. 46, 1923.

    Lines below 40 keV are taken as filtered out.
    """
    lines = np.arange(_LOWEST_LINE_KEV, tube_kv, _LINE_STEP_KEV)
    return tuple(lines.tolist()), tuple((tube_kv - lines).tolist())


def draw_aperture(
    size: tuple[int, int], generator: np.random.Generator
) -> Float32[np.ndarray, 'H W']:
    """Return the share of the beam that a collimator lets through: four leaves or an iris."""
    height, width = size
    v, u = np.mgrid[:height, :width]
    if generator.uniform() < 0.5:
        top, bottom = generator.uniform(*_LEAF_SHARE, 2) * height
        left, right = generator.uniform(*_LEAF_SHARE, 2) * width
        inside = (v >= top) & (v < height - bottom) & (u >= left) & (u < width - right)
    else:
        radius = generator.uniform(0.42, 0.5) * min(size)
        inside = np.hypot(v - (height - 1) / 2, u - (width - 1) / 2) < radius
    return np.where(inside, 1.0, _LEAF_TRANSMISSION).astype(np.float32)


def middle(image: np.ndarray) -> np.ndarray:
    """Return the middle quarter of an image, which an exposure control measures."""
    height, width = image.shape
    return image[height // 4 : height - height // 4, width // 4 : width - width // 4]
