"""What bench/gpu.py measures: each part takes a Scale and returns figures by name.

All run on the CPU, too, at a tiny scale, where a test sees that they work.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib.util import find_spec

import torch
from _accuracy import matched_points, relative_rms
from _methods import search_config
from _programs import JacobianBy, Program, ours, peer
from _scenes import BenchScene, make_scene
from torch import Tensor

from sph_reg_ros.errors import RegistrationError
from sph_reg_ros.evaluation.carm import isocentre_of
from sph_reg_ros.evaluation.cases import BenchCT, Case, CaseMaker
from sph_reg_ros.evaluation.path_cache import PathCache, default_cache_folder
from sph_reg_ros.evaluation.protocols import NEAR, Protocol
from sph_reg_ros.evaluation.viewpoints import BENCH_GEOMETRY, Viewpoints
from sph_reg_ros.geometry import se3
from sph_reg_ros.geometry.box import mean_distance_mm
from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.imaging.sample_ct import sample_ct_path
from sph_reg_ros.imaging.xray.intensity import IntensityModel
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.frame_views import Frame
from sph_reg_ros.registration.prepared_view import ViewMaker
from sph_reg_ros.registration.register import register
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.result import RegistrationResult
from sph_reg_ros.registration.track import METHOD, Tracker
from sph_reg_ros.rendering.render import render, render_with_jacobian

PEER = 'nanodrr'
Figures = dict[str, float]


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        device: that is measured; 'cuda' but for tests.
        volume: edge of the phantom in voxels.
        size: edge of the images in pixels.
        repeats: of a rendering.
        cases: registrations.
        frames: of tracking.
        steps: of training.
        levels: of registrations.
        bench_ct: that is registered; the sample CT if None.
    """

    device: str = 'cuda'
    volume: int = 256
    size: int = 256
    repeats: int = 50
    cases: int = 20
    frames: int = 200
    steps: int = 30
    levels: tuple[int, ...] = RegistrationConfig().levels
    bench_ct: BenchCT | None = None


def image_parity(scale: Scale) -> Figures:
    """Compare images and Jacobians of the device with those of the CPU."""
    here, there = (make_scene(str(scale.volume), scale.size, d) for d in ('cpu', scale.device))
    images, columns = [], []
    for pose in here.poses:
        expected, found = (_both(scene, pose) for scene in (here, there))
        images.append(relative_rms(found[0], expected[0]))
        columns += [relative_rms(found[1][..., c], expected[1][..., c]) for c in range(6)]
    return {'image, relative rms': max(images), 'Jacobian, worst column': max(columns)}


def rendering(scale: Scale) -> Figures:
    """Time our renderings and nanodrr's in turn, in microseconds."""
    scene = make_scene(str(scale.volume), scale.size, scale.device)
    poses = [pose.to(scale.device) for pose in scene.poses]
    own = {program.kind: program for program in ours(scene, 'auto')}
    theirs: dict[str, Program] = {}
    if find_spec(PEER) is not None:
        points = matched_points(PEER, str(scale.volume), scale.device)
        theirs = {p.kind: p for p in peer(PEER, scene, points, JacobianBy())}
    figures: Figures = {}
    for kind in ('image', 'image + Jacobian'):
        programs = [own[kind], *([theirs[kind]] if theirs else [])]
        times = _in_turn([partial(_run, program, poses) for program in programs], scale)
        figures[f'{kind}, us'] = 1e6 * times[0]
        if theirs:
            figures[f'{PEER} {kind}, us'] = 1e6 * times[1]
            figures[f'{kind}, times as fast'] = times[1] / times[0]
    batch = torch.stack([poses[n % len(poses)] for n in range(64)])
    small = make_scene(str(scale.volume), max(8, scale.size // 4), scale.device)
    (seconds,) = _in_turn([lambda n: _both(small, batch)], replace(scale, repeats=5))
    figures['64 small images + Jacobians, us an image'] = 1e6 * seconds / 64
    return figures


def registrations(scale: Scale) -> Figures:
    """Register with all checks on the device and on the CPU, and without an initial pose."""
    cases, config = _cases(scale, NEAR), _config(scale, scale.device)
    _register(scale, cases[0], config)  # compiles, tunes, coarsens the CT
    found = [_register(scale, case, config) for case in cases]
    on_cpu = [_register(scale, case, replace(config, device='cpu')) for case in cases]
    pairs = [(a[0], b[0]) for a, b in zip(found, on_cpu, strict=True) if a[0] and b[0]]
    bench_ct = _bench_ct(scale)
    apart = [
        float(mean_distance_mm(a.camera_from_ct[0], b.camera_from_ct[0], bench_ct.landmarks_mm))
        for a, b in pairs
    ]
    figures = {
        'with checks, ms': 1e3 * statistics.median(seconds for _, seconds in found),
        'with checks on the CPU, ms': 1e3 * statistics.median(s for _, s in on_cpu),
        'poses apart from those of the CPU, mm': max(apart, default=float('nan')),
        'other verdicts than on the CPU': sum(a.verdict != b.verdict for a, b in pairs)
        + len(cases) - len(pairs),
    }  # fmt: skip
    return figures | _no_guess(scale, cases, replace(config, method='spherical'))


def _no_guess(scale: Scale, cases: list[Case], config: RegistrationConfig) -> Figures:
    bench_ct = _bench_ct(scale)
    _register(scale, cases[0], config, guess=False)
    found = [_register(scale, case, config, guess=False) for case in cases]
    good = [
        result is not None
        and mean_distance_mm(result.camera_from_ct[0], case.truth, bench_ct.landmarks_mm) < 2.0
        for case, (result, _) in zip(cases, found, strict=True)
    ]
    return {
        'no guess, ms': 1e3 * statistics.median(seconds for _, seconds in found),
        'no guess, below 2 mm': float(sum(good) / len(good)),
    }


def tracking(scale: Scale) -> Figures:
    """Follow frames of a patient who moves by 20 mm/s, 30 frames a second."""
    centre = isocentre_of(_bench_ct(scale).ct)
    at_rest, camera = Viewpoints().camera_from_ct(0, centre), BENCH_GEOMETRY.camera
    frames, poses = [], []
    for number in range(scale.frames + 2):
        shift = torch.tensor([0, 0, 0, 20 / 30 * number, 0, 0], dtype=torch.float64)
        pose = se3.apply_twist(shift, at_rest, centre)
        image = render(_volume(scale, 'cpu'), pose, camera.K, camera.size)
        pixels = 50_000 * torch.exp(-image)
        frames.append(Frame(pixels, camera, number / 30, initial_camera_from_ct=at_rest))
        poses.append(pose)
    make_view = ViewMaker(IntensityModel(), polarity_given=True)
    config = replace(_config(scale, scale.device), starts=0)
    tracker = Tracker(_volume(scale, scale.device), make_view, config)
    tracker.track(frames[0])
    tracker.follow(frames[1])  # compiles and tunes
    began = time.perf_counter()
    found = [tracker.follow(frame) for frame in frames[2:]]
    seconds = (time.perf_counter() - began) / len(found)
    errors = [
        float(mean_distance_mm(result.camera_from_ct[0], pose, _bench_ct(scale).landmarks_mm))
        for result, pose in zip(found, poses[2:], strict=True)
    ]
    return {
        'tracking, frames/s': 1 / seconds,
        'tracking, median mm': statistics.median(errors),
        'tracking, frames registered anew': sum(r.method != METHOD for r in found),
    }


def training(scale: Scale) -> Figures:
    """Count the X-rays a second from which a pose regressor learns, making them included."""
    from pathlib import Path

    from sph_reg_ros.training.config_file import read_config
    from sph_reg_ros.training.data import step_key
    from sph_reg_ros.training.job import TrainingJob
    from sph_reg_ros.training.optimiser import optimiser_of

    name = 'train_quick.yaml' if scale.volume > 64 else 'train_ci.yaml'
    config = read_config(Path(__file__).parents[1] / 'config' / name)
    job = TrainingJob('regressor', (_bench_ct(scale).ct,), config)
    task = job.task(scale.device)
    module = task.module.to(scale.device).train()
    optimiser = optimiser_of(module, task.schedule, task.pretrained)

    def step(number: int) -> Tensor:
        batch = task.batch(task.schedule.batch, step_key(0, 0, number))
        optimiser.zero_grad()
        loss: Tensor = module(batch)['loss']
        loss.backward()
        optimiser.step()
        return loss

    (seconds,) = _in_turn([step], replace(scale, repeats=scale.steps))
    return {'training, X-rays/s': task.schedule.batch / seconds}


def _register(
    scale: Scale, case: Case, config: RegistrationConfig, *, guess: bool = True
) -> tuple[RegistrationResult | None, float]:
    """Return what comes of a case, None if it is refused, and the seconds."""
    start = case.start.camera_from_ct if guess else None
    request = RegistrationRequest(_volume(scale, config.device), (case.view,), start, config)
    began = time.perf_counter()
    try:
        result = register(request)
    except RegistrationError:
        return None, time.perf_counter() - began
    return result, time.perf_counter() - began


def _cases(scale: Scale, protocol: Protocol) -> list[Case]:
    maker = CaseMaker(protocol, 'clean', PathCache(default_cache_folder()))
    return list(maker.cases(_bench_ct(scale), range(scale.cases)))


def _config(scale: Scale, device: str) -> RegistrationConfig:
    return replace(search_config(NEAR), device=device, levels=scale.levels)


def _bench_ct(scale: Scale) -> BenchCT:
    return scale.bench_ct or _sample()


@cache
def _sample() -> BenchCT:
    return BenchCT.load(sample_ct_path())


@cache
def _volume(scale: Scale, device: str) -> AttenuationVolume:
    return _bench_ct(scale).volume.to(device)


def _run(program: Program, poses: list[Tensor], number: int) -> Tensor:
    return program.run(poses[number % len(poses)])


def _both(scene: BenchScene, pose: Tensor) -> tuple[Tensor, Tensor]:
    camera = scene.camera
    return render_with_jacobian(scene.volume, pose, camera.K, camera.size)


def _in_turn(runs: list[Callable[[int], object]], scale: Scale) -> list[float]:
    """Return the median seconds of programs that run in turn, without waiting in between.

    A run is a few calls, so that waiting for the device hardly counts.
    """
    calls = 1 if scale.device == 'cpu' else 10
    seconds: list[list[float]] = [[] for _ in runs]
    for turn in range(scale.repeats + 1):
        for number, run in enumerate(runs):
            _wait(scale)
            began = time.perf_counter()
            for call in range(calls):
                run(turn * calls + call)
            _wait(scale)
            seconds[number].append((time.perf_counter() - began) / calls)
    # The first one compiles and tunes.
    return [statistics.median(times[1:]) for times in seconds]


def _wait(scale: Scale) -> None:
    if scale.device == 'cuda':
        torch.cuda.synchronize()
