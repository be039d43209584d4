"""X-rays as a clinic's display shows them: the beam's physics, then what the vendor makes of it.

It works on path integrals, whichever projector made them. Research use only.
"""

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from jaxtyping import Float32, UInt8

from sph_reg_ros.evaluation.blur import gaussian_blur
from sph_reg_ros.evaluation.disturbances import middle, scattered_light, wide_spectrum
from sph_reg_ros.evaluation.exposure import PHOTONS_IN_THE_MIDDLE
from sph_reg_ros.evaluation.path_cache import PathIntegrals
from sph_reg_ros.evaluation.simulation import XRaySimulation, read_out, transmitted_share
from sph_reg_ros.geometry import Camera

_TUBE_KV = 80.0
_HEEL = 0.3
"""By how much the beam is weaker at one side of the image than at the other."""
_SCATTER_TO_PRIMARY = 0.5
_GLARE, _GLARE_SIGMA = 0.08, 0.2
"""Share of the light that an image intensifier or a scintillator spreads, and how far, in image
heights."""
_MARGIN = 0.03
"""Of the image's height, between its round field and its border."""
_TEXT = ('HOSPITAL 4711', '73 kV 3.1 mA', 'L')
_TEXT_AT = ((0.02, 0.06), (0.62, 0.97), (0.08, 0.55))
"""Shares of width and height; the last one lies within a round field."""


@dataclass(frozen=True)
class Display:
    """How a display shows an X-ray.

    Attributes:
        window: share of the pixels that is black, and that is not white.
        edges: two-scale unsharp mask: (sigma as a share of the height, gain) of each scale.
        contrast: slope of the S-curve in the middle against none; 1: no curve.
        round_field: whether the field is a circle on black.
        text: whether letters are burned in.
        turn_deg: by how much the image is turned about its middle.
        inverted: whether bone is bright.
        distortion: share by which a pixel half the height off the middle lies farther out.
    """

    window: tuple[float, float] = (0.005, 0.995)
    edges: tuple[tuple[float, float], ...] = ()
    contrast: float = 1.0
    round_field: bool = False
    text: bool = False
    turn_deg: float = 0.0
    inverted: bool = False
    distortion: float = 0.0


_EXPORT = Display()
_ENHANCED = Display(window=(0.01, 0.99), edges=((0.006, 0.6), (0.04, 0.4)), contrast=1.5)
DISPLAYS = {
    'export': _EXPORT,
    'window': Display(window=(0.08, 0.92)),
    'edges': _ENHANCED,
    'round': replace(_EXPORT, round_field=True, text=True),
    'inverted': replace(_EXPORT, inverted=True),
    'rotated': replace(_EXPORT, round_field=True, turn_deg=25.0),
    'workstation': replace(_ENHANCED, round_field=True, text=True),
}
"""Displays by name: 8 bit, of the logarithm. `workstation` has all but turns and inversion."""


def clinical_counts(
    integrals: PathIntegrals, generator: np.random.Generator
) -> Float32[np.ndarray, 'H W']:
    """Return what the detector measures, as a share of the open beam: never 0.

    A spectrum of 80 kV, heel effect, scatter, veiling glare, photon noise.

    Args:
        integrals: of the body.
        generator: source of the noise.
    """
    energies, weights = wide_spectrum(_TUBE_KV)
    beam = XRaySimulation(energies_kev=energies, energy_weights=weights, scatter_fraction=0.0)
    body = transmitted_share(integrals.soft_mm, integrals.bone_mm, beam)
    height = body.shape[0]
    heel = np.linspace(1 + _HEEL / 2, 1 - _HEEL / 2, height, dtype=np.float32)[:, None]
    light = body + scattered_light(body, _SCATTER_TO_PRIMARY, np.ones_like(body))
    light = light * heel
    light = (1 - _GLARE) * light + _GLARE * gaussian_blur(light, _GLARE_SIGMA * height)
    photons = PHOTONS_IN_THE_MIDDLE / float(np.median(middle(body)))
    counts = read_out(light, replace(beam, photons_per_pixel=photons), generator)
    return np.maximum(counts, 0.5).astype(np.float32) / np.float32(beam.open_beam_counts)


def displayed(counts: Float32[np.ndarray, 'H W'], display: Display) -> UInt8[np.ndarray, 'H W']:
    """Return what a display makes of counts: the logarithm, sharpened, windowed, bent, 8 bit.

    Turned and distorted it is seen by another camera: `camera_of`.

    Args:
        counts: of the detector, positive.
        display: how.
    """
    image = np.log(counts).astype(np.float32)
    image = image + sum(
        gain * (image - gaussian_blur(image, sigma * len(image))) for sigma, gain in display.edges
    )
    image = _bent(image.astype(np.float32), display.distortion)
    inside = _inside(image.shape, display)
    low, high = np.quantile(image[inside], display.window)
    shown = np.clip((image - low) / max(high - low, 1e-6), 0.0, 1.0)
    if display.contrast > 1:
        shown = _s_curve(shown, display.contrast)
    if display.inverted:
        shown = 1 - shown
    shown = np.where(inside, shown, 0.0)
    pixels = _turned(np.rint(255 * shown).astype(np.uint8), display.turn_deg)
    return _lettered(pixels) if display.text else pixels


def camera_of(camera: Camera, display: Display) -> Camera:
    """Return the camera of what a display shows of another's image; it knows of no distortion."""
    if not display.turn_deg:
        return camera
    turn = torch.eye(3, dtype=torch.float64)
    turn[:2] = torch.from_numpy(_turn(camera.size, display.turn_deg))
    return Camera(turn @ camera.K, camera.height, camera.width)


def _s_curve(shown: Float32[np.ndarray, 'H W'], slope: float) -> Float32[np.ndarray, 'H W']:
    """Return a logistic curve from 0 to 1 that is so steep in the middle."""
    steep = 4 * slope
    ends = 1 / (1 + math.exp(steep / 2)), 1 / (1 + math.exp(-steep / 2))
    return (1 / (1 + np.exp(-steep * (shown - 0.5))) - ends[0]) / (ends[1] - ends[0])


def _inside(size: tuple[int, int], display: Display) -> np.ndarray:
    """Return which pixels the field reaches."""
    if not display.round_field:
        return np.ones(size, dtype=bool)
    v, u = np.mgrid[: size[0], : size[1]]
    radius = (0.5 - _MARGIN) * min(size)
    return np.hypot(v - (size[0] - 1) / 2, u - (size[1] - 1) / 2) < radius


def _turn(size: tuple[int, int], degrees: float) -> np.ndarray:
    height, width = size
    return cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)


def _turned(pixels: UInt8[np.ndarray, 'H W'], degrees: float) -> UInt8[np.ndarray, 'H W']:
    if not degrees:
        return pixels
    return cv2.warpAffine(pixels, _turn(pixels.shape, degrees), pixels.shape[::-1])


def _bent(image: Float32[np.ndarray, 'H W'], distortion: float) -> Float32[np.ndarray, 'H W']:
    if not distortion:
        return image
    height, width = image.shape
    y, x = (np.arange(n, dtype=np.float32) - (n - 1) / 2 for n in (height, width))
    inwards = 1 - distortion * (x**2 + y[:, None] ** 2) / (height / 2) ** 2
    u, v = x * inwards + (width - 1) / 2, y[:, None] * inwards + (height - 1) / 2
    return cv2.remap(image, u, v, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def _lettered(pixels: UInt8[np.ndarray, 'H W']) -> UInt8[np.ndarray, 'H W']:
    height, width = pixels.shape
    scale = height / 512
    pixels = pixels.copy()
    for text, (x, y) in zip(_TEXT, _TEXT_AT, strict=True):
        place, size = (round(x * width), round(y * height)), scale * (2.5 if len(text) == 1 else 1)
        thickness = max(2, round(2 * size))
        cv2.putText(
            pixels, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, 255, thickness, cv2.LINE_AA
        )
    return pixels
