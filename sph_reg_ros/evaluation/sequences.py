"""Streams of X-rays with known poses: a C-arm that swings, or a patient who moves under it."""

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float32, Float64, UInt16
from torch import Tensor

from sph_reg_ros.evaluation.carm import isocentre_of
from sph_reg_ros.evaluation.cases import BenchCT
from sph_reg_ros.evaluation.disturbances import Disturbances
from sph_reg_ros.evaluation.exposure import take_xray
from sph_reg_ros.evaluation.path_cache import PathCache, PathIntegrals
from sph_reg_ros.evaluation.viewpoints import BENCH_GEOMETRY
from sph_reg_ros.geometry import Camera, se3
from sph_reg_ros.geometry.carm import camera_from_ct_for_angles

Mover = Literal['c-arm', 'patient']
MOVERS: tuple[Mover, ...] = ('c-arm', 'patient')


@dataclass(frozen=True)
class Motion:
    """To and fro: slow at one end, turned back at once at the other, at the speed that is given.

    Attributes:
        mover: 'c-arm': it turns about the patient's long axis and travels along it, and its pose is
            known. 'patient': turns about an oblique axis and shifts in all directions; the imager
            stands still.
        speed_mm_s: peak speed of the shift.
        turn_deg_s: peak speed of the rotation.
        period_s: of the whole swing; half of it is there and back.
        start_primary_deg: positioner angle where it turns back at once.
    """

    mover: Mover
    speed_mm_s: float = 20.0
    turn_deg_s: float = 10.0
    period_s: float = 6.0
    start_primary_deg: float = 0.0

    def poses(
        self, time_s: float, centre_mm: Float64[Tensor, '3']
    ) -> tuple[Float64[Tensor, '4 4'], Float64[Tensor, '4 4']]:
        """Return camera_from_ct and fixed_from_camera (mm) at a time.

        Args:
            time_s: since the start.
            centre_mm: the isocentre, CT coordinates (mm).
        """
        phase = 2 * math.pi * time_s / self.period_s
        swing = abs(math.sin(phase)) * self.period_s / (2 * math.pi)
        turn, shift_mm = math.radians(self.turn_deg_s) * swing, self.speed_mm_s * swing
        primary, distance_mm = (
            math.radians(self.start_primary_deg),
            BENCH_GEOMETRY.source_to_isocentre_mm,
        )
        at_rest = camera_from_ct_for_angles(primary, math.radians(10.0), distance_mm, centre_mm)
        if self.mover == 'c-arm':
            along = torch.tensor([0.0, 0.0, shift_mm], dtype=torch.float64)
            turned = camera_from_ct_for_angles(
                primary + turn, math.radians(10.0), distance_mm, centre_mm + along
            )
            # The patient lies still, in a fixed frame that is the CT's.
            return turned, se3.inverse(turned)
        axis = torch.tensor([0.5, 0.5, 0.5**0.5], dtype=torch.float64)
        way = torch.tensor([0.6, -0.64, 0.48], dtype=torch.float64)
        moved = se3.apply_twist(torch.cat([turn * axis, shift_mm * way]), at_rest, centre_mm)
        return moved, se3.inverse(at_rest)


@dataclass(frozen=True)
class SimulatedFrame:
    """One frame of a stream.

    Attributes:
        number: from 0.
        time_s: of its exposure.
        counts: detector counts.
        camera: the imager.
        truth: camera_from_ct (mm).
        fixed_from_camera: pose of the camera in a frame that stands still (mm).
    """

    number: int
    time_s: float
    counts: UInt16[np.ndarray, 'H W']
    camera: Camera
    truth: Float64[Tensor, '4 4']
    fixed_from_camera: Float64[Tensor, '4 4']


@dataclass(frozen=True)
class Stream:
    """Frames of a CT under a motion; frame n is the same whatever else is asked for.

    Attributes:
        bench_ct: the CT.
        motion: how it moves.
        cache: of the path integrals, which are simulated at 256 x 256 px.
        rate_hz: frames a second.
        disturbances: of every frame; how strong each is and where it lies stays the same, only the
            noise is new.
        size: rows and columns; finer images interpolate the integrals.
    """

    bench_ct: BenchCT
    motion: Motion
    cache: PathCache
    rate_hz: float = 15.0
    disturbances: Disturbances = Disturbances()
    size: int = 256

    @property
    def camera(self) -> Camera:
        """Return the imager."""
        return BENCH_GEOMETRY.camera.rescale(self.size, self.size)

    def frames(self, count: int, first: int = 0) -> Iterator[SimulatedFrame]:
        """Yield frames one after the other; seconds for each that the cache does not hold."""
        for number in range(first, first + count):
            yield self.frame(number)

    def frame(self, number: int) -> SimulatedFrame:
        """Return one frame."""
        time_s = number / self.rate_hz
        truth, fixed_from_camera = self.motion.poses(time_s, isocentre_of(self.bench_ct.ct))
        known = self.cache.integrals(
            self.bench_ct.ct.series_uid_hash,
            lambda: self.bench_ct.patient,
            truth,
            BENCH_GEOMETRY.camera,
        )
        integrals = PathIntegrals(_fine(known.soft_mm, self.size), _fine(known.bone_mm, self.size))
        noise = np.random.default_rng([number, 1])
        counts = take_xray(integrals, self.disturbances, self._generator(), noise)
        return SimulatedFrame(number, time_s, counts, self.camera, truth, fixed_from_camera)

    def _generator(self) -> np.random.Generator:
        text = f'{self.bench_ct.ct.series_uid_hash} {self.motion.mover}'
        return np.random.default_rng(zlib.crc32(text.encode()))


def _fine(integral: Float32[np.ndarray, 'h w'], size: int) -> Float32[np.ndarray, 'H W']:
    if len(integral) == size:
        return integral
    image = torch.from_numpy(integral)[None, None]
    finer = torch.nn.functional.interpolate(image, (size, size), mode='bilinear')
    return finer[0, 0].numpy()
