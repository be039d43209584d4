"""One X-ray from known path integrals: noise alone, or disturbed."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float32, UInt16

from sph_reg_ros.evaluation.disturbances import (
    GAMMAS,
    SCATTER_TO_PRIMARY,
    TUBE_KV,
    Disturbances,
    change_intensity,
    draw_aperture,
    middle,
    scattered_light,
    wide_spectrum,
)
from sph_reg_ros.evaluation.instruments import draw_instrument
from sph_reg_ros.evaluation.path_cache import PathIntegrals
from sph_reg_ros.evaluation.simulation import XRaySimulation, read_out, transmitted_share

# One energy and no scatter: behind it a rendering differs by method and noise alone.
NOISE_ONLY = XRaySimulation(energies_kev=(60.0,), energy_weights=(1.0,), scatter_fraction=0.0)
# The exposure control of the C-arm: photons that a pixel in the middle detects. Noise of 2.2 %
# there, and far more behind the thickest parts, is that of a low-dose radiograph.
PHOTONS_IN_THE_MIDDLE = 2000.0


def take_xray(
    integrals: PathIntegrals,
    disturbances: Disturbances,
    generator: np.random.Generator,
    noise: np.random.Generator | None = None,
) -> UInt16[np.ndarray, 'H W']:
    """Return detector counts.

    Args:
        integrals: of the body.
        disturbances: which; how strong each is, is drawn here.
        generator: source of randomness; the same state gives the same image.
        noise: of the photons' chance, where that of the disturbances shall be the same in many
            images; `generator` if None.
    """
    beam = NOISE_ONLY
    if 'hardening' in disturbances:
        energies, weights = wide_spectrum(generator.uniform(*TUBE_KV))
        beam = replace(beam, energies_kev=energies, energy_weights=weights)
    body = transmitted_share(integrals.soft_mm, integrals.bone_mm, beam)
    photons = PHOTONS_IN_THE_MIDDLE / float(np.median(middle(body)))
    light = _light(body, disturbances, generator)
    counts = read_out(light, replace(beam, photons_per_pixel=photons), noise or generator)
    if 'gamma' not in disturbances:
        return counts
    scale = float(np.quantile(-np.log(body), 0.995))
    return change_intensity(counts, generator.uniform(*GAMMAS), beam.open_beam_counts, scale)


def _light(
    body: Float32[np.ndarray, 'H W'], disturbances: Disturbances, generator: np.random.Generator
) -> Float32[np.ndarray, 'H W']:
    """Return the light on the detector as a share of the open beam."""
    exposed = np.ones_like(body)
    if 'collimator' in disturbances:
        exposed = draw_aperture(body.shape, generator)
    light = body * exposed
    if 'instrument' in disturbances:
        light = light * np.exp(-draw_instrument(body.shape, generator))
    if 'scatter' in disturbances:
        light = light + scattered_light(body, generator.uniform(*SCATTER_TO_PRIMARY), exposed)
    return light
