"""Simulated X-rays, independent of the registration's renderer: polyenergetic, blurred, noisy.

Two materials (soft tissue, bone) are integrated by DiffDRR's Siddon (`rendering.siddon`) through
the full-resolution CT, attenuated at several energies by Beer-Lambert and read out by a detector.
Research use only.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float32, Float64, UInt16
from torch import Tensor

from sph_reg_ros.errors import ConfigError, ErrorCode
from sph_reg_ros.evaluation.blur import gaussian_blur
from sph_reg_ros.geometry import Camera
from sph_reg_ros.imaging.attenuation import CT_EFFECTIVE_KEV, bone_attenuation, water_attenuation
from sph_reg_ros.imaging.ct.volume import CT
from sph_reg_ros.rendering.reference.siddon import signed_path_integrals
from sph_reg_ros.settings import parameter, settings


@settings
class XRaySimulation:
    """The beam and the detector; the defaults are a good flat panel behind an anti-scatter grid.

    Scatter and hardening are mild by default: they bend the intensities that a registration
    compares, and the demo shows the method, not a scatter correction.

    Attributes:
        energies_kev: lines of the spectrum in keV, 30 to 150.
        energy_weights: detected share of each line in the open beam, on any positive scale.
        bone_threshold_hu: voxels above it attenuate like bone, the others like water; HU.
        photons_per_pixel: mean photons that a pixel detects in the open beam; sets the noise.
        blur_sigma_px: Gaussian detector blur, pixels.
        scatter_fraction: scattered light as a share of the smoothed primary image.
        scatter_sigma_px: smoothness of the scatter, pixels.
        bits: counts reach from 0 to 2^bits - 1.
        open_beam_level: counts of the open beam as a share of full scale.
        collimator_margin_px: closed rows and columns at each side, pixels.
        instrument: draw a needle that the CT does not have, at a random place in every image.
    """

    energies_kev: tuple[float, ...] = parameter((50.0, 60.0, 80.0), low=30.0, high=150.0)
    energy_weights: tuple[float, ...] = (0.25, 0.5, 0.25)
    bone_threshold_hu: float = parameter(250.0, low=0.0, high=3000.0)
    photons_per_pixel: float = parameter(200_000.0, low=10.0, high=1e12)
    blur_sigma_px: float = parameter(0.6, low=0.0, high=10.0)
    scatter_fraction: float = parameter(0.05, low=0.0, high=1.0)
    scatter_sigma_px: float = parameter(40.0, low=1.0, high=1000.0)
    bits: int = parameter(16, low=12, high=16)
    open_beam_level: float = parameter(0.9, low=0.01, high=1.0)
    collimator_margin_px: int = parameter(0, low=0, high=1000)
    instrument: bool = False

    def __post_init__(self) -> None:
        """Check ranges; raises ConfigError."""
        if not 0 < len(self.energies_kev) == len(self.energy_weights):
            raise ConfigError(
                ErrorCode.CONFIG_INVALID, 'energies_kev and energy_weights must be of equal length'
            )
        if min(self.energy_weights) <= 0 or not all(30 <= kev <= 150 for kev in self.energies_kev):
            raise ConfigError(
                ErrorCode.CONFIG_INVALID, 'energies must lie in 30 to 150 keV, weights be positive'
            )

    @property
    def open_beam_counts(self) -> float:
        """Return the counts of an unattenuated pixel: I0 of Beer-Lambert's law."""
        return self.open_beam_level * (2**self.bits - 1)


@dataclass(frozen=True)
class Patient:
    """A CT as two materials that exclude each other.

    Attributes:
        water_equivalent: 1 + HU / 1000, counted negative where the voxel is bone [K, J, I].
        ct_from_index: maps (i, j, k, 1) of this array, which is cropped, to LPS mm [4, 4].
    """

    water_equivalent: Float32[Tensor, 'K J I'] = field(repr=False)
    ct_from_index: Float64[Tensor, '4 4']


# Half of water's density tells body, table and clothes from lung noise; only for the crop.
_BODY_HU = -500.0


def patient_from_ct(ct: CT, bone_threshold_hu: float = 250.0) -> Patient:
    """Split a CT into soft tissue and bone and cut the empty air around the body off.

    The crop changes neither poses nor the body's voxels. Values below -1000 HU count as air.
    """
    hounsfield = np.maximum(ct.hounsfield.astype(np.float32), -1000.0)
    box, first = _body_box(hounsfield)
    water_equivalent = 1.0 + hounsfield[box] / 1000.0
    water_equivalent[hounsfield[box] > bone_threshold_hu] *= -1.0
    shift = np.eye(4)
    shift[:3, 3] = first
    return Patient(
        torch.from_numpy(np.ascontiguousarray(water_equivalent)),
        torch.as_tensor(ct.ct_from_index @ shift, dtype=torch.float64),
    )


def simulate_xray(
    patient: Patient,
    camera_from_ct: Float64[Tensor, '4 4'],
    camera: Camera,
    simulation: XRaySimulation,
    generator: np.random.Generator,
    observer: Callable[[], None] | None = None,
) -> UInt16[np.ndarray, 'H W']:
    """Take one X-ray: detector counts, bright where little attenuates.

    Args:
        patient: the body.
        camera_from_ct: true pose, CT (LPS mm) to camera (mm).
        camera: the imager.
        simulation: beam and detector.
        generator: source of randomness; the same state gives the same image.
        observer: called again and again; raise CancelledError in it to stop.
    """
    camera_from_index = camera_from_ct @ patient.ct_from_index
    soft_mm, bone_mm = signed_path_integrals(
        patient.water_equivalent, camera_from_index, camera.K, camera.size, observer
    )
    transmission = transmitted_share(soft_mm.numpy(), bone_mm.numpy(), simulation)
    if simulation.instrument:
        transmission = transmission * np.exp(-_needle(camera.size, generator))
    transmission = transmission * _aperture(camera.size, simulation.collimator_margin_px)
    return read_out(transmission, simulation, generator)


def transmitted_share(
    soft_mm: Float32[np.ndarray, 'H W'],
    bone_mm: Float32[np.ndarray, 'H W'],
    simulation: XRaySimulation,
) -> Float32[np.ndarray, 'H W']:
    """Return the detected share of the open beam behind water-equivalent paths (Beer-Lambert).

    At CT_EFFECTIVE_KEV a bone voxel attenuates as its Hounsfield value says; with energy it scales
    like cortical bone, soft tissue like water.
    """
    water_in_ct, bone_in_ct = (f(CT_EFFECTIVE_KEV) for f in (water_attenuation, bone_attenuation))
    total = np.zeros_like(soft_mm)
    for energy_kev, weight in zip(simulation.energies_kev, simulation.energy_weights, strict=True):
        soft_per_mm = water_attenuation(energy_kev)
        bone_per_mm = water_in_ct * bone_attenuation(energy_kev) / bone_in_ct
        total += weight * np.exp(-soft_per_mm * soft_mm - bone_per_mm * bone_mm)
    return total / np.float32(sum(simulation.energy_weights))


def read_out(
    transmission: Float32[np.ndarray, 'H W'],
    simulation: XRaySimulation,
    generator: np.random.Generator,
) -> UInt16[np.ndarray, 'H W']:
    """Turn the light on the detector, a share of the open beam, into blurred and noisy counts."""
    scatter = gaussian_blur(transmission, simulation.scatter_sigma_px)
    primary = gaussian_blur(transmission, simulation.blur_sigma_px)
    light = primary + simulation.scatter_fraction * scatter
    photons = generator.poisson(light.astype(np.float64) * simulation.photons_per_pixel)
    counts = photons / simulation.photons_per_pixel * simulation.open_beam_counts
    return np.clip(np.rint(counts), 0, 2**simulation.bits - 1).astype(np.uint16)


def _body_box(hounsfield: np.ndarray) -> tuple[tuple[slice, ...], list[int]]:
    """Return the slices (k, j, i) that hold the body, and their start as (i, j, k)."""
    body = hounsfield > _BODY_HU
    box = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        occupied = np.flatnonzero(body.any(axis=others))
        size = hounsfield.shape[axis]
        box.append(slice(occupied[0], occupied[-1] + 1) if occupied.size else slice(0, size))
    return tuple(box), [part.start for part in reversed(box)]


def _aperture(size: tuple[int, int], margin_px: int) -> np.ndarray:
    """Return 1 inside the collimator's opening and the leaves' small transmission outside."""
    aperture = np.full(size, 0.002, dtype=np.float32)
    aperture[margin_px : size[0] - margin_px, margin_px : size[1] - margin_px] = 1.0
    return aperture


def _needle(size: tuple[int, int], generator: np.random.Generator) -> np.ndarray:
    """Return the line integral of a steel needle, a cylinder seen from the side."""
    height, width = size
    tip = generator.uniform(0.3, 0.7, 2) * (width, height)
    angle = generator.uniform(0, 2 * np.pi)
    axis = np.array([np.cos(angle), np.sin(angle)])
    v, u = np.mgrid[:height, :width]
    along = (u - tip[0]) * axis[0] + (v - tip[1]) * axis[1]
    across = (v - tip[1]) * axis[0] - (u - tip[0]) * axis[1]
    radius_px = 0.006 * width
    chord = np.sqrt(np.clip(1.0 - (across / radius_px) ** 2, 0.0, None))
    return np.where(along > 0, 2.0 * chord, 0.0).astype(np.float32)
