"""Poses that a gate must not let pass, and such as it must; all of one X-ray."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from _gate_scene import Scene
from torch import Tensor

from sph_reg_ros.evaluation.cases import BenchCT, Case
from sph_reg_ros.evaluation.metrics import pose_error
from sph_reg_ros.evaluation.viewpoints import BENCH_GEOMETRY
from sph_reg_ros.geometry import Camera, se3
from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.global_search import hypotheses
from sph_reg_ros.registration.networks import Networks
from sph_reg_ros.registration.search import distinct

RIGHT = ('found', 'typical')
WRONG = (
    'offset', 'depth', 'level', 'flip', 'other_ct', 'mirrored_ct', 'flipped_display',
    'focal_length', 'elsewhere', 'misled',
)  # fmt: skip
BEYOND = ('small_focal_error', 'principal_point')
"""Errors of the camera that one image tells only in part; counted apart."""
KINDS = (*RIGHT, *WRONG, *BEYOND)
SMALLEST_MM, LARGEST_MM = 3.0, 50.0
TYPICAL = torch.tensor([1e-3] * 3 + [0.1, 0.1, 0.4], dtype=torch.float64)
"""Standard deviations of what a registration is off by: rad, mm across and along the beam."""
VERTEBRA_MM = (22.0, 40.0)
SEARCHED = 16
"""Hypotheses of a search without a guess whose optima are looked at."""
MISLED = torch.tensor([0.3] * 3 + [30.0, 30.0, 60.0], dtype=torch.float64)
"""Standard deviations of a wrong initial pose: rad, mm across and along the beam."""
FOCAL_ERRORS = (0.08, 0.4)
SMALL_FOCAL_ERRORS = (0.005, 0.08)
BEYOND_FOCAL = ('small_focal_error', SMALL_FOCAL_ERRORS)
PRINCIPAL_POINT_PX = (4.0, 20.0)


@dataclass(frozen=True)
class Forced:
    """A pose to be judged.

    Attributes:
        kind: one of RIGHT, WRONG and BEYOND.
        scene: what it is judged with.
        pose: of the camera (mm).
        settled: whether the solver had ended there.
    """

    kind: str
    scene: Scene
    pose: Tensor
    settled: bool


@dataclass(frozen=True)
class Forger:
    """Makes poses for the X-rays of one CT.

    Attributes:
        bench_ct: the CT.
        other: another patient's CT.
        mirrored: the CT, left and right exchanged.
        networks: for the CT, None if there are none.
        config: of the registration.
    """

    bench_ct: BenchCT
    other: AttenuationVolume
    mirrored: AttenuationVolume
    networks: Networks | None
    config: RegistrationConfig

    def wrong(self, case: Case, scene: Scene, generator: np.random.Generator) -> Iterator[Forced]:
        """Yield wrong poses of a case, whose right ones are judged with `scene`, and BEYOND."""
        yield from self._near_misses(scene, generator)
        yield from self._decoys(scene, generator)
        yield from self._wrong_volumes(case, generator)
        yield from self._wrong_cameras(case, generator)
        yield from self._flipped_display(case)
        yield from self._elsewhere(scene)

    def misleading_start(self, scene: Scene, generator: np.random.Generator) -> Tensor:
        """Return a wrong initial pose: anywhere around, a vertebra along, or turned round."""
        around = scene.moved(torch.from_numpy(generator.normal(size=6)) * MISLED)
        level, turn = self._decoy_twists(scene, generator)
        near = torch.from_numpy(generator.normal(size=6)) * TYPICAL
        choices = (
            around,
            scene.moved(near, scene.moved(level)),
            scene.moved(near, scene.moved(turn)),
        )
        return choices[int(generator.integers(3))]

    def scene(self, case: Case) -> Scene:
        """Return what a right pose is judged with."""
        return self._scene(case, self.bench_ct.volume)

    def _scene(self, case: Case, volume: AttenuationVolume, camera: Camera | None = None) -> Scene:
        view = case.view if camera is None else replace(case.view, camera=camera)
        beside = torch.eye(4, dtype=torch.float64)
        beside[:3, 3] = self.bench_ct.volume.centre - volume.centre
        start = case.start.camera_from_ct
        return Scene.build(volume, view, case.truth @ beside, start @ beside, self.config)

    def _near_misses(self, scene: Scene, generator: np.random.Generator) -> Iterator[Forced]:
        for _ in range(2):
            size_mm = _log_uniform(generator, SMALLEST_MM, LARGEST_MM)
            twist = torch.from_numpy(generator.normal(size=6) * ([0.03] * 3 + [5.0] * 3))
            yield Forced('offset', scene, self._at_distance(scene, twist, size_mm), False)
            along = torch.tensor([0, 0, 0, 0, 0, generator.choice([-1.0, 1.0])]).double()
            size_mm = _log_uniform(generator, SMALLEST_MM, LARGEST_MM)
            yield Forced('depth', scene, self._at_distance(scene, along, size_mm), False)

    def _at_distance(self, scene: Scene, twist: Tensor, size_mm: float) -> Tensor:
        """Return the truth moved along a twist until the landmarks are off by as much."""
        for _ in range(8):
            twist = twist * size_mm / self.error_mm(scene, scene.moved(twist))
        # What rounding takes off must not make it less than asked for.
        return scene.moved(twist * (1 + 1e-6))

    def _decoys(self, scene: Scene, generator: np.random.Generator) -> Iterator[Forced]:
        for kind, twist in zip(
            ('level', 'flip'), self._decoy_twists(scene, generator), strict=True
        ):
            yield from _raw_and_settled(kind, scene, scene.moved(twist))

    def _decoy_twists(self, scene: Scene, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return a shift by one vertebra and half a turn."""
        axes, nothing = scene.truth[:3, :3], torch.zeros(3, dtype=torch.float64)
        shift = generator.choice([-1.0, 1.0]) * generator.uniform(*VERTEBRA_MM)
        turn = math.pi * axes[:, int(generator.integers(3))]
        return torch.cat([nothing, shift * axes[:, 2]]), torch.cat([turn, nothing])

    def _wrong_volumes(self, case: Case, generator: np.random.Generator) -> Iterator[Forced]:
        for kind, wrong in (('other_ct', self.other), ('mirrored_ct', self.mirrored)):
            scene = self._scene(case, wrong)
            start = scene.moved(torch.from_numpy(generator.normal(size=6)) * TYPICAL)
            yield from _raw_and_settled(kind, scene, start)

    def _wrong_cameras(self, case: Case, generator: np.random.Generator) -> Iterator[Forced]:
        for kind, errors in (('focal_length', FOCAL_ERRORS), BEYOND_FOCAL):
            factor = 1 + generator.choice([-1.0, 1.0]) * _log_uniform(generator, *errors)
            K = case.view.camera.K.clone()
            K[:2, :2] *= factor
            scene = self._scene(case, self.bench_ct.volume, Camera(K, *case.view.camera.size))
            centre = se3.transform_points(scene.truth, self.bench_ct.volume.centre[None])[0]
            # The depth at which the anatomy looks as large as it is.
            deeper = torch.cat([torch.zeros(5), (factor - 1) * centre[2:]]).double()
            settled = scene.settled(scene.moved(deeper))
            if settled is not None:
                yield Forced(kind, scene, settled, True)
        K = case.view.camera.K.clone()
        K[:2, 2] += torch.from_numpy(
            generator.choice([-1.0, 1.0], 2) * generator.uniform(*PRINCIPAL_POINT_PX, 2)
        )
        scene = self._scene(case, self.bench_ct.volume, Camera(K, *case.view.camera.size))
        settled = scene.settled(scene.truth)
        if settled is not None:
            yield Forced('principal_point', scene, settled, True)

    def _flipped_display(self, case: Case) -> Iterator[Forced]:
        """Yield where the X-ray leads if its display shows left and right exchanged."""
        mask = None if case.view.mask is None else case.view.mask.flip(1)
        flipped = replace(case.view, line_integrals=case.view.line_integrals.flip(1), mask=mask)
        scene = self._scene(replace(case, view=flipped), self.bench_ct.volume)
        settled = scene.settled(scene.truth)
        if settled is not None:
            yield Forced('flipped_display', scene, settled, True)

    def _elsewhere(self, scene: Scene) -> Iterator[Forced]:
        """Yield the distinct optima that a search without a guess ends in, but the right one."""
        request = replace(scene.request, initial_camera_from_ct=None)
        anywhere = replace(scene, request=request)
        starts = hypotheses(scene.levels[0].coarse_similarity, request, SEARCHED)
        ends = [end for start in starts if (end := scene.settled(start)) is not None]
        if not ends:
            return
        poses = torch.stack(ends)
        for index in distinct(poses, request.volume.centre):
            if self.error_mm(scene, poses[index]) >= SMALLEST_MM:
                yield Forced('elsewhere', anywhere, poses[index], True)

    def error_mm(self, scene: Scene, pose: Tensor) -> float:
        """Return the mean target registration error of a pose."""
        shift = scene.request.volume.centre - self.bench_ct.volume.centre
        landmarks = self.bench_ct.landmarks_mm + shift
        camera, pitch_mm = BENCH_GEOMETRY.camera, BENCH_GEOMETRY.pixel_pitch_mm
        return pose_error(pose, scene.truth, landmarks, camera, pitch_mm).mtre_mm


def mirrored(volume: AttenuationVolume) -> AttenuationVolume:
    """Return a volume with its columns in reverse order."""
    return AttenuationVolume(volume.mu.flip(-1).contiguous(), volume.ct_from_index)


def _raw_and_settled(kind: str, scene: Scene, start: Tensor) -> Iterator[Forced]:
    yield Forced(kind, scene, start, False)
    settled = scene.settled(start)
    if settled is not None:
        yield Forced(kind, scene, settled, True)


def _log_uniform(generator: np.random.Generator, low: float, high: float) -> float:
    return float(low * (high / low) ** generator.uniform())
