"""Times programs in turn, so that a busy moment of the machine hits all of them."""

import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from _accuracy import errors_of, reference
from _programs import KINDS, OURS, Program
from _scenes import BenchScene
from torch import Tensor


@dataclass
class Timing:
    """What was measured of one program.

    Attributes:
        seconds: of every run.
        ratios: seconds over those of our run of the same kind just before.
        errors: by name, of every view.
        note: why there are fewer runs than asked for.
    """

    seconds: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    errors: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    note: str = ''


@dataclass(frozen=True)
class Effort:
    """How much may be run.

    Attributes:
        repeats: rounds; each takes the next view.
        limit_s: a program that is expected to take longer is not run; one that takes more than a
            fifth of it is run only once.
    """

    repeats: int
    limit_s: float


def run_in_turn(
    scene: BenchScene, own: list[Program], peers: list[Program], effort: Effort
) -> dict[tuple[str, str], Timing]:
    """Time all programs; our program of the same kind runs before each one of a peer."""
    own_by_kind = {program.kind: program for program in own if program.name == OURS}
    timings: dict[tuple[str, str], Timing] = defaultdict(Timing)
    for program in own:
        _seconds(program, scene.poses[0])  # compile, read the volume
    for turn in range(effort.repeats):
        pose = scene.poses[turn % len(scene.poses)]
        expected = reference(scene, pose)
        for program in _in_rounds(own, peers):
            timing = timings[program.name, program.kind]
            if turn > 0 and (not timing.seconds or min(timing.seconds) > effort.limit_s / 5):
                continue
            if not timing.seconds and _too_slow(program, timings, effort, timing):
                continue
            compiled = program.name.endswith('compiled')
            if compiled and not timing.seconds:
                program.run(pose)  # compile
            base = _seconds(own_by_kind[program.kind], pose)[0]
            seconds, result = _seconds(program, pose)
            timing.seconds.append(seconds)
            timings[OURS, program.kind].seconds.append(base)
            if program.name != OURS:
                timing.ratios.append(seconds / base)
            for name, error in errors_of(program, result, expected).items():
                timing.errors[name].append(error)
    return timings


def summary(timing: Timing) -> dict[str, float | str | int]:
    """Return medians and extremes in milliseconds, ratios and errors."""
    figures: dict[str, float | str | int] = {'runs': len(timing.seconds), 'note': timing.note}
    for name, values, unit in (('ms', timing.seconds, 1e3), ('ratio', timing.ratios, 1.0)):
        if values:
            figures[f'{name}_median'] = unit * statistics.median(values)
            figures[f'{name}_min'], figures[f'{name}_max'] = unit * min(values), unit * max(values)
    return figures | {name: max(values) for name, values in timing.errors.items()}


def synchronise() -> None:
    """Wait for the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _in_rounds(own: list[Program], peers: list[Program]) -> Iterator[Program]:
    for kind in KINDS:
        yield from (program for program in [*own, *peers] if program.kind == kind)


def _seconds(program: Program, pose: Tensor) -> tuple[float, Tensor]:
    synchronise()
    start = time.perf_counter()
    result = program.run(pose)
    synchronise()
    return time.perf_counter() - start, result


def _too_slow(
    program: Program,
    timings: dict[tuple[str, str], Timing],
    effort: Effort,
    timing: Timing,
) -> bool:
    """Judge a peer's dearer kinds by its image: 3 times as long back, 7 images a Jacobian."""
    image = timings.get((program.name, KINDS[0]))
    if program.kind == KINDS[0] or image is None or not image.seconds:
        return program.kind != KINDS[0] and image is not None
    expected = min(image.seconds) * (3 if program.kind == KINDS[1] else 7)
    if expected > effort.limit_s:
        timing.note = f'not run: about {expected:.0f} s'
    return expected > effort.limit_s
