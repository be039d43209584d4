"""One pose before the gate: what it was, what the gate said."""

import time
import zlib
from collections.abc import Iterator, Set
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from _gate_poses import RIGHT, TYPICAL, Forced, Forger
from _gate_scene import Scene
from torch import Tensor

from sph_reg_ros.errors import RegistrationError
from sph_reg_ros.evaluation.cases import Case
from sph_reg_ros.evaluation.viewpoints import FIELD_MM
from sph_reg_ros.registration.gate.evidence import Evidence
from sph_reg_ros.registration.gate.verify import verify
from sph_reg_ros.registration.register import register
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.result import Verdict, Verification

CORRECT_MM, WRONG_MM = 2.0, 3.0
"""A pose is correct below the one and wrong from the other on; what lies between is neither."""
ALWAYS_WRONG = ('other_ct', 'mirrored_ct', 'flipped_display')


@dataclass(frozen=True)
class GateTrial:
    """One pose before the gate.

    Attributes:
        ct: name of the CT.
        condition: of the X-ray, clean or disturbed.
        case: its number.
        disturbances: of the X-ray, in alphabetical order.
        kind: see `_gate_poses`.
        settled: whether the solver had ended there.
        error_mm: mean target registration error.
        verdict: name of the verdict; REJECTED too if there was none.
        figures: value of each check.
        failed: names of the checks that did not pass.
        estimate_mm: error that the gate estimates.
        bound_mm: its 95 % bound.
        seconds: that the gate took.
        registration_s: that the registration took, with the gate; NaN for forced poses.
        field_mm: edge of the detector.
        pose: of the camera (mm), row by row; empty in files of before.
    """

    ct: str
    condition: str
    case: int
    disturbances: tuple[str, ...]
    kind: str
    settled: bool
    error_mm: float
    verdict: str
    figures: dict[str, float]
    failed: tuple[str, ...]
    estimate_mm: float
    bound_mm: float
    seconds: float
    registration_s: float
    field_mm: float = FIELD_MM
    pose: tuple[float, ...] = ()

    @property
    def verified(self) -> bool:
        """Return whether the pose would have been published."""
        return self.verdict == Verdict.VERIFIED.name

    @property
    def correct(self) -> bool:
        """Return whether it should have been."""
        return self.kind not in ALWAYS_WRONG and self.error_mm < CORRECT_MM

    @property
    def wrong(self) -> bool:
        """Return whether it must not be."""
        return self.kind in ALWAYS_WRONG or self.error_mm >= WRONG_MM

    @classmethod
    def of(cls, content: dict[str, Any]) -> 'GateTrial':
        """Return the trial whose content this is, perhaps by way of JSON."""
        names = ('disturbances', 'failed', 'pose')
        listed = {name: tuple(content[name]) for name in names if name in content}
        return cls(**{**content, **listed})

    def content(self) -> dict[str, Any]:
        """Return everything, for JSON."""
        return asdict(self)


def trials_of(forger: Forger, case: Case, condition: str, kinds: Set[str]) -> Iterator[GateTrial]:
    """Yield the trials of one X-ray: what the registration finds, and poses that are forced."""
    words = (forger.bench_ct.ct.series_uid_hash, condition)
    generator = np.random.default_rng([case.number, *(zlib.crc32(word.encode()) for word in words)])
    scene = forger.scene(case)
    if 'found' in kinds:
        yield from _registered(forger, case, scene, condition, 'found', scene.request)
    twist = torch.from_numpy(generator.normal(size=6)) * TYPICAL
    typical = Forced('typical', scene, scene.moved(twist), False)
    if 'typical' in kinds:
        yield _forced(forger, case, condition, typical)
    if kinds <= set(RIGHT):
        return
    # Whatever is left out, the others are the same as in a full run.
    for forced in forger.wrong(case, scene, generator):
        if forced.kind in kinds:
            yield _forced(forger, case, condition, forced)
    if 'misled' in kinds:
        yield from _misled(forger, case, scene, condition, generator)


def _misled(
    forger: Forger, case: Case, scene: Scene, condition: str, generator: np.random.Generator
) -> Iterator[GateTrial]:
    request = replace(
        scene.request,
        initial_camera_from_ct=forger.misleading_start(scene, generator),
        networks=forger.networks,
        config=replace(forger.config, method='spherical'),
    )
    yield from _registered(forger, case, scene, condition, 'misled', request)


def _registered(
    forger: Forger,
    case: Case,
    scene: Scene,
    condition: str,
    kind: str,
    request: RegistrationRequest,
) -> Iterator[GateTrial]:
    """Yield what the registration finds; nothing if it refuses."""
    began = time.perf_counter()
    try:
        result = register(request)
    except RegistrationError:
        return
    took = time.perf_counter() - began
    checks_s = sum(t for name, t in result.timings_s.items() if name.endswith('verify'))
    error_mm = forger.error_mm(scene, result.camera_from_ct[0])
    trial = _trial(forger, case, condition, kind, True, error_mm, result.verification, checks_s)
    pose = tuple(result.camera_from_ct[0].flatten().tolist())
    yield replace(trial, registration_s=took, pose=pose)


def _forced(forger: Forger, case: Case, condition: str, forced: Forced) -> GateTrial:
    scene, began = forced.scene, time.perf_counter()
    verification = judged(forced.pose, forced)
    seconds = time.perf_counter() - began
    error_mm = forger.error_mm(scene, forced.pose)
    trial = _trial(
        forger, case, condition, forced.kind, forced.settled, error_mm, verification, seconds
    )
    return replace(trial, pose=tuple(forced.pose.flatten().tolist()))


def judged(pose: Tensor, forced: Forced) -> Verification:
    """Return what the gate says of a pose that the solver is said to have found."""
    scene = forced.scene
    initial, config = scene.request.initial_camera_from_ct, scene.request.config
    try:
        return verify(Evidence.of_pose(scene.levels, pose, initial, config))
    except RegistrationError:
        return Verification(Verdict.REJECTED, ())


def _trial(
    forger: Forger,
    case: Case,
    condition: str,
    kind: str,
    settled: bool,
    error_mm: float,
    verification: Verification,
    seconds: float,
) -> GateTrial:
    return GateTrial(
        ct=forger.bench_ct.name,
        condition=condition,
        case=case.number,
        disturbances=tuple(sorted(case.disturbances.names)),
        kind=kind,
        settled=settled,
        error_mm=error_mm,
        verdict=verification.verdict.name,
        figures={check.name: check.value for check in verification.checks},
        failed=tuple(check.name for check in verification.checks if not check.passed),
        estimate_mm=verification.tre_rms_mm,
        bound_mm=verification.tre_p95_mm,
        seconds=seconds,
        registration_s=float('nan'),
    )
