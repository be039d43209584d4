"""Benchmark cases: a CT, X-rays with known true poses, and initial poses."""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.evaluation.carm import isocentre_of
from sph_reg_ros.evaluation.clinical import DISPLAYS, camera_of, clinical_counts, displayed
from sph_reg_ros.evaluation.disturbances import DISTURBANCES, Disturbances, draw_disturbances
from sph_reg_ros.evaluation.exposure import take_xray
from sph_reg_ros.evaluation.path_cache import PathCache
from sph_reg_ros.evaluation.protocols import Protocol, Start, any_in_view, draw_start
from sph_reg_ros.evaluation.simulation import Patient, patient_from_ct
from sph_reg_ros.evaluation.viewpoints import FIELD_MM, AllAround, Viewpoints, bench_geometry
from sph_reg_ros.geometry import Camera
from sph_reg_ros.geometry.box import TRUNK_HALF_SIZE_MM, landmarks_within
from sph_reg_ros.imaging.attenuation import AttenuationVolume, attenuation_from_hounsfield
from sph_reg_ros.imaging.ct.volume import CT
from sph_reg_ros.imaging.load import load_ct
from sph_reg_ros.imaging.xray.intensity import IntensityModel
from sph_reg_ros.imaging.xray.prepare import prepare_xray
from sph_reg_ros.registration.view import View

STARTS_PER_XRAY = 4
CONDITIONS = ('clean', 'disturbed')
_BODY_HU = -500.0
_BODY_SAMPLES = 32
_BONE_HU, _SPINE_REACH_MM = 250.0, 40.0


@dataclass(frozen=True, eq=False)
class BenchCT:
    """A CT prepared for simulation and registration.

    Attributes:
        name: to print.
        ct: the CT.
    """

    name: str
    ct: CT

    @classmethod
    def load(cls, path: Path) -> 'BenchCT':
        """Read a CT; raises CTError."""
        return cls(path.name.split('.')[0], load_ct(path))

    @cached_property
    def volume(self) -> AttenuationVolume:
        """Return its attenuation, for the registration."""
        return attenuation_from_hounsfield(self.ct)

    @cached_property
    def patient(self) -> Patient:
        """Return its two materials, for the simulation."""
        return patient_from_ct(self.ct)

    @cached_property
    def body_mm(self) -> Float64[Tensor, 'N 3']:
        """Return points all over the body, CT coordinates."""
        strides = [max(1, size // _BODY_SAMPLES) for size in self.ct.hounsfield.shape]
        coarse = self.ct.hounsfield[tuple(slice(None, None, stride) for stride in strides)]
        index = (np.argwhere(coarse > _BODY_HU) * strides)[:, ::-1]
        affine = self.ct.ct_from_index
        return torch.from_numpy(index @ affine[:3, :3].T + affine[:3, 3])

    @cached_property
    def spine_mm(self) -> Float64[Tensor, '3']:
        """Return the median of the bone next to the middle of a trunk, CT coordinates."""
        bone = np.argwhere(self.ct.hounsfield > _BONE_HU)[:, ::-1]
        affine, middle = self.ct.ct_from_index, isocentre_of(self.ct).numpy()
        at = bone @ affine[:3, :3].T + affine[:3, 3]
        near = (np.abs(at - middle)[:, [0, 2]] < _SPINE_REACH_MM).all(1)
        return torch.from_numpy(np.median(at[near], axis=0))

    @cached_property
    def landmarks_mm(self) -> Float64[Tensor, '14 3']:
        """Return the points whose distances are the errors, CT coordinates."""
        shape = np.array(self.ct.hounsfield.shape[::-1])
        extent_mm = np.abs(self.ct.ct_from_index[:3, :3]) @ (shape - 1)
        return landmarks_within(isocentre_of(self.ct), TRUNK_HALF_SIZE_MM, extent_mm.tolist())


@dataclass(frozen=True)
class Case:
    """One benchmark case.

    Attributes:
        number: of the case; with the CT, the protocol and the condition it determines the rest.
        camera: the imager.
        truth: true camera_from_ct [4, 4] (mm).
        start: initial pose; whether a method is told it is up to the protocol.
        view: the X-ray as the product prepares it, ready for `register`.
        disturbances: of the X-ray.
    """

    number: int
    camera: Camera
    truth: Float64[Tensor, '4 4']
    start: Start
    view: View
    disturbances: Disturbances


@dataclass(frozen=True)
class CaseMaker:
    """Cases of one protocol and condition; case n is the same whatever else is asked for.

    Every fourth case has a new X-ray pose, every one where no start is told; each case has its own
    noise, disturbances and start. Starts are the same for clean and disturbed X-rays. A field
    smaller than that of the benchmarks is aimed at the spine.

    Attributes:
        protocol: how far from the truth to start.
        condition: 'clean' (noise only), 'disturbed', or a display (`clinical.DISPLAYS`).
        cache: of the path integrals.
        forced: disturbances of every disturbed case; a random combination each if None.
        viewpoints: where the true poses lie, where starts are told.
        seed: of noise, disturbances and starts.
        field_mm: edge of the detector.
    """

    protocol: Protocol
    condition: str
    cache: PathCache
    forced: Disturbances | None = None
    viewpoints: Viewpoints = Viewpoints()
    seed: int = 0
    field_mm: float = FIELD_MM

    def cases(self, bench_ct: BenchCT, numbers: Sequence[int]) -> Iterator[Case]:
        """Yield the cases of these numbers; seconds for an X-ray that the cache does not hold."""
        for number in numbers:
            yield self.case(bench_ct, number)

    def case(self, bench_ct: BenchCT, number: int) -> Case:
        """Return one case."""
        camera = bench_geometry(self.field_mm).camera
        ct_hash = bench_ct.ct.series_uid_hash
        centre_mm = isocentre_of(bench_ct.ct) if self.field_mm >= FIELD_MM else bench_ct.spine_mm
        truth = self._truth(number, centre_mm)
        integrals = self.cache.integrals(ct_hash, lambda: bench_ct.patient, truth, camera)
        disturbances = self._disturbances(self._generator(ct_hash, number, 'disturbances'))
        generator = self._generator(ct_hash, number, self.condition)
        if self.condition in DISPLAYS:
            display = DISPLAYS[self.condition]
            counts = displayed(clinical_counts(integrals, generator), display)
            shown, model = (
                camera_of(camera, display),
                IntensityModel(bright_air=not display.inverted),
            )
        else:
            counts = take_xray(integrals, disturbances, generator)
            shown, model = camera, IntensityModel()
        start = draw_start(
            self.protocol,
            truth,
            centre_mm,
            lambda pose: any_in_view(bench_ct.body_mm, pose, camera),
            self._generator(ct_hash, number, self.protocol.name),
        )
        return Case(number, shown, truth, start, _prepared(counts, shown, model), disturbances)

    def _truth(self, number: int, centre_mm: Float64[Tensor, '3']) -> Float64[Tensor, '4 4']:
        if not self.protocol.told:
            return AllAround().camera_from_ct(number, centre_mm)
        return self.viewpoints.camera_from_ct(number // STARTS_PER_XRAY, centre_mm)

    def _disturbances(self, generator: np.random.Generator) -> Disturbances:
        if self.condition != 'disturbed':
            return Disturbances()
        return draw_disturbances(generator) if self.forced is None else self.forced

    def _generator(self, ct_hash: str, number: int, purpose: str) -> np.random.Generator:
        words = (zlib.crc32(text.encode()) for text in (ct_hash, purpose))
        return np.random.default_rng([self.seed, number, *words])


def all_disturbances() -> Disturbances:
    """Return every disturbance at once."""
    return Disturbances(frozenset(DISTURBANCES))


def _prepared(counts: np.ndarray, camera: Camera, model: IntensityModel) -> View:
    """Prepare counts as in use: I0, saturation and collimator are estimated."""
    pixels = torch.from_numpy(counts.astype(np.float32))
    integrals, mask = prepare_xray(pixels, model)
    return View(integrals, camera, mask)
