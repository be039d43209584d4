"""A simulated C-arm with inexact encoders.

Frames: `ct` (LPS mm), `camera` (optical, mm) and `fixed`, the floor of the encoders (mm).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float64, UInt8, UInt16
from torch import Tensor

from sph_reg_ros.errors import ConfigError, ErrorCode
from sph_reg_ros.evaluation.moving_bodies import BodyMotion
from sph_reg_ros.evaluation.simulation import (
    Patient,
    XRaySimulation,
    patient_from_ct,
    simulate_xray,
)
from sph_reg_ros.geometry import Camera, se3, so3
from sph_reg_ros.geometry.carm import camera_from_ct_for_angles
from sph_reg_ros.imaging.bodies.body import Bodies
from sph_reg_ros.imaging.ct.volume import CT
from sph_reg_ros.settings import parameter, settings


@settings
class CArmGeometry:
    """The imager.

    Attributes:
        sdd_mm: distance from source to detector, mm.
        source_to_isocentre_mm: distance from source to isocentre, mm; less than sdd_mm.
        height: rows of the image.
        width: columns of the image.
        pixel_pitch_mm: spacing of rows and columns on the detector, mm.
    """

    sdd_mm: float = parameter(1020.0, low=100.0, high=5000.0)
    source_to_isocentre_mm: float = parameter(700.0, low=50.0, high=5000.0)
    height: int = parameter(256, low=8, high=4096)
    width: int = parameter(256, low=8, high=4096)
    pixel_pitch_mm: float = parameter(1.4, low=0.05, high=50.0)

    def __post_init__(self) -> None:
        """Check ranges; raises ConfigError."""
        if not 0 < self.source_to_isocentre_mm < self.sdd_mm:
            raise ConfigError(
                ErrorCode.CONFIG_INVALID,
                'source_to_isocentre_mm must lie between 0 and sdd_mm',
            )

    @property
    def camera(self) -> Camera:
        """Return the camera, its principal point in the middle of the detector."""
        pitch_mm = (self.pixel_pitch_mm, self.pixel_pitch_mm)
        return Camera.from_geometry(self.sdd_mm, pitch_mm, (self.height, self.width))


@settings
class Orbit:
    """The angles of the images: evenly from start to stop, then back, and so on.

    Attributes:
        primary_start_deg: positioner primary angle of the first image, degrees, + = LAO.
        primary_stop_deg: the same for the last image of a sweep, degrees.
        secondary_deg: positioner secondary angle, degrees, + = cranial.
        steps: images of one sweep.
    """

    primary_start_deg: float = parameter(-45.0, low=-180.0, high=180.0)
    primary_stop_deg: float = parameter(45.0, low=-180.0, high=180.0)
    secondary_deg: float = parameter(10.0, low=-90.0, high=90.0)
    steps: int = parameter(10, low=1, high=100_000)

    def angles_rad(self, index: int) -> tuple[float, float]:
        """Return (primary, secondary) of an image, counted from 0."""
        position = index % max(2 * (self.steps - 1), 1)
        position = min(position, 2 * (self.steps - 1) - position)
        share = position / max(self.steps - 1, 1)
        span_deg = self.primary_stop_deg - self.primary_start_deg
        primary_deg = self.primary_start_deg + share * span_deg
        return math.radians(primary_deg), math.radians(self.secondary_deg)


class Angles(Protocol):
    """Given C-arm angles, image by image."""

    def angles_rad(self, index: int) -> tuple[float, float]:
        """Return (primary, secondary) of an image, counted from 0."""


@settings
class EncoderError:
    """Random encoder errors, drawn anew for every image.

    Attributes:
        max_translation_mm: largest shift, mm; its length is uniform, its direction random.
        max_rotation_deg: largest turn, degrees; uniform, about a random axis through the isocentre.
    """

    max_translation_mm: float = parameter(10.0, low=0.0, high=500.0)
    max_rotation_deg: float = parameter(5.0, low=0.0, high=180.0)

    def sample(
        self, pivot_mm: Float64[Tensor, '3'], generator: np.random.Generator
    ) -> Float64[Tensor, '4 4']:
        """Draw a rigid motion of the fixed frame, turning about a point of it."""
        angle = math.radians(self.max_rotation_deg) * generator.uniform()
        rotation = so3.exp(angle * _direction(generator))
        shift_mm = self.max_translation_mm * generator.uniform() * _direction(generator)
        return se3.from_parts(rotation, pivot_mm - rotation @ pivot_mm + shift_mm)


@dataclass(frozen=True)
class Exposure:
    """One simulated image with true and reported poses.

    Attributes:
        index: number of the image, from 0.
        counts: detector counts [H, W], uint16, or 8 bit of a display.
        camera_from_ct: true pose (mm).
        fixed_from_camera: pose of the camera as the encoders tell it, wrong on purpose (mm).
        camera_from_body: true poses of the bodies by name, if any move for themselves (mm).
    """

    index: int
    counts: UInt16[np.ndarray, 'H W'] | UInt8[np.ndarray, 'H W']
    camera_from_ct: Float64[Tensor, '4 4']
    fixed_from_camera: Float64[Tensor, '4 4']
    camera_from_body: dict[str, Float64[Tensor, '4 4']] = field(default_factory=dict)


def patient_on_the_table(isocentre_lps_mm: Float64[Tensor, '3']) -> Float64[Tensor, '4 4']:
    """Return fixed_from_ct (mm) of a patient whose isocentre lies 950 mm above the floor.

    Neither axis of the CT is parallel to one of the fixed frame, so that mixed-up frames show.
    """
    supine = so3.exp(torch.tensor([-math.pi / 2, 0.0, 0.0], dtype=torch.float64))
    turned = so3.exp(torch.tensor([0.05, -0.1, math.radians(25.0)], dtype=torch.float64))
    rotation = turned @ supine
    isocentre_fixed_mm = torch.tensor([120.0, -80.0, 950.0], dtype=torch.float64)
    return se3.from_parts(rotation, isocentre_fixed_mm - rotation @ isocentre_lps_mm)


@dataclass(frozen=True)
class CArm:
    """The C-arm with its patient; the same seed gives the same images in any order.

    Attributes:
        patient: the body.
        isocentre_lps_mm: the point of the body [3] that the C-arm turns about, CT coordinates.
        geometry: the imager.
        orbit: the angles.
        encoder_error: how wrong the poses are that it reports.
        simulation: beam and detector.
        seed: of noise and encoder errors.
        motion: of the bodies that move for themselves; None: the patient is one rigid body.
        images_per_motion: images in a row with the same motion and the same encoder error.
    """

    patient: Patient
    isocentre_lps_mm: Float64[Tensor, '3']
    geometry: CArmGeometry = field(default_factory=CArmGeometry)
    orbit: Angles = field(default_factory=Orbit)
    encoder_error: EncoderError = field(default_factory=EncoderError)
    simulation: XRaySimulation = field(default_factory=XRaySimulation)
    seed: int = 0
    motion: BodyMotion | None = None
    images_per_motion: int = 1

    @classmethod
    def around(
        cls,
        ct: CT,
        geometry: CArmGeometry,
        orbit: Angles,
        encoder_error: EncoderError,
        simulation: XRaySimulation,
        seed: int,
        bodies: Bodies | None = None,
    ) -> 'CArm':
        """Set up the C-arm around the middle of a CT; see the attributes.

        `bodies`, of the CT at BodyMotion's energy, swing from image to image.
        """
        patient = patient_from_ct(ct, simulation.bone_threshold_hu)
        motion = None if bodies is None else BodyMotion(ct, bodies, seed=seed)
        centre = isocentre_of(ct)
        return cls(patient, centre, geometry, orbit, encoder_error, simulation, seed, motion)

    @property
    def fixed_from_ct(self) -> Float64[Tensor, '4 4']:
        """Return the true pose of the patient (mm)."""
        return patient_on_the_table(self.isocentre_lps_mm)

    def poses(self, index: int) -> tuple[Float64[Tensor, '4 4'], Float64[Tensor, '4 4']]:
        """Return true camera_from_ct and reported fixed_from_camera of an image (mm)."""
        return self._poses(index, self._generator(index))

    def expose(self, index: int, observer: Callable[[], None] | None = None) -> Exposure:
        """Take the image of that number; takes seconds, see `simulate_xray` for the observer."""
        generator = self._generator(index)
        truth, fixed_from_camera = self._poses(index, generator)
        patient = self.patient
        if self.motion is not None:
            moved = self.motion.moved_ct(index // self.images_per_motion)
            patient = patient_from_ct(moved, self.simulation.bone_threshold_hu)
        counts = simulate_xray(
            patient, truth, self.geometry.camera, self.simulation, generator, observer
        )
        return Exposure(index, counts, truth, fixed_from_camera, self.camera_from_body(index))

    def camera_from_body(self, index: int) -> dict[str, Float64[Tensor, '4 4']]:
        """Return the true pose (mm) of each body that moves for itself, by name."""
        if self.motion is None:
            return {}
        truth = self.poses(index)[0]
        moved = self.motion.moved_from_rest(index // self.images_per_motion)
        return {b.name: truth @ moved[b.name] @ b.ct_from_body for b in self.motion.bodies}

    def _generator(self, index: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, index])

    def _poses(
        self, index: int, generator: np.random.Generator
    ) -> tuple[Float64[Tensor, '4 4'], Float64[Tensor, '4 4']]:
        primary_rad, secondary_rad = self.orbit.angles_rad(index)
        truth = camera_from_ct_for_angles(
            primary_rad,
            secondary_rad,
            self.geometry.source_to_isocentre_mm,
            self.isocentre_lps_mm,
        )
        isocentre_fixed_mm = se3.transform_points(self.fixed_from_ct, self.isocentre_lps_mm[None])
        of_same_moment = index % self.images_per_motion
        if of_same_moment:
            generator = self._generator(index - of_same_moment)
        wrong = self.encoder_error.sample(isocentre_fixed_mm[0], generator)
        return truth, wrong @ self.fixed_from_ct @ se3.inverse(truth)


def _direction(generator: np.random.Generator) -> Float64[Tensor, '3']:
    vector = torch.from_numpy(generator.normal(size=3))
    return vector / vector.norm()


def isocentre_of(ct: CT) -> Float64[Tensor, '3']:
    """Return the middle of the CT's grid, LPS mm: a usual place for the isocentre."""
    slices, rows, columns = ct.hounsfield.shape
    middle = np.array([(columns - 1) / 2, (rows - 1) / 2, (slices - 1) / 2, 1.0])
    return torch.from_numpy((ct.ct_from_index @ middle)[:3])
