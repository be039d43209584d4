"""Tracking: streams of X-rays of a C-arm that moves, and of a patient who moves, frame by frame.

X-rays are simulated from the full-resolution CT with DiffDRR's Siddon, as in `bench/register.py`.
The first frame's initial pose is 8 mm and 3 degrees off. A latency is the time from raw pixels to a
result. A frame is wrong if it is VERIFIED and its mean target registration error exceeds 3 mm.
Half of all frames are disturbed: in what way stays the same through a stream, the noise does not.

Events happen in the middle of a stream: the patient jumps, an instrument moves through the image,
a frame is black, or frames are of another CT.

--node adds a run through the real node by DDS: 512 x 512 px mono16 images, whose path integrals are
interpolated, at a rate; the latency is that from the call that publishes an image to the arrival of
the transform with its stamp. The path integrals take seconds each; they are kept in the cache.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
import torch
from _track_node import NodeRun, run_node
from register import CTS

from sph_reg_ros.errors import RegistrationError
from sph_reg_ros.evaluation.cases import BenchCT
from sph_reg_ros.evaluation.disturbances import Disturbances
from sph_reg_ros.evaluation.metrics import pose_error
from sph_reg_ros.evaluation.path_cache import PathCache, default_cache_folder
from sph_reg_ros.evaluation.sequences import MOVERS, Motion, SimulatedFrame, Stream
from sph_reg_ros.evaluation.viewpoints import BENCH_GEOMETRY
from sph_reg_ros.geometry import se3
from sph_reg_ros.imaging.sample_ct import sample_ct_path
from sph_reg_ros.imaging.xray.intensity import IntensityModel
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.frame_views import Frame
from sph_reg_ros.registration.prepared_view import ViewMaker
from sph_reg_ros.registration.result import RegistrationResult, Verdict
from sph_reg_ros.registration.track import METHOD, Tracker

WRONG_MM, IN_PLANE_MM = 3.0, 0.5
LIBRARY_HZ, NODE_HZ = 30.0, 15.0
START = torch.tensor([0.03, -0.03, 0.03, 4.0, -4.0, 6.0], dtype=torch.float64)
CONDITIONS = {
    'clean': Disturbances(),
    'disturbed': Disturbances(frozenset({'gamma', 'scatter', 'hardening'})),
}
EVENTS = ('jump', 'instrument', 'black', 'other CT')


@dataclass(frozen=True)
class Tracked:
    """One frame and what came of it.

    Attributes:
        number: of the frame.
        seconds: from raw pixels to the result.
        cpu_s: of all cores together; the same also where other work shares the machine.
        method: METHOD where it was followed; '' if it was refused.
        verdict: its name, REFUSED for an image that was refused.
        mtre_mm: mean target registration error; NaN without a pose.
        in_plane_mm: the part of it across the beam.
        bound_mm: that holds in 95 % of all cases, as the result says.
        since: frames since the last full checks; None if there is no chain.
    """

    number: int
    seconds: float
    cpu_s: float
    method: str
    verdict: str
    mtre_mm: float = np.nan
    in_plane_mm: float = np.nan
    bound_mm: float = np.nan
    since: int | None = None

    @property
    def verified(self) -> bool:
        """Return whether the pose may be used."""
        return self.verdict == Verdict.VERIFIED.name

    @property
    def wrong(self) -> bool:
        """Return whether it may, and should not."""
        return self.verified and not self.mtre_mm <= WRONG_MM


def follow(stream: Stream, frames: list[SimulatedFrame]) -> Iterator[Tracked]:
    """Yield what a new tracker makes of frames."""
    volume = stream.bench_ct.volume
    tracker = Tracker(volume, ViewMaker(IntensityModel()), RegistrationConfig(method='image'))
    for seen in frames:
        start = se3.apply_twist(START, seen.truth, volume.centre)
        frame = Frame(
            torch.from_numpy(seen.counts.astype(np.float32)),
            seen.camera,
            seen.time_s,
            fixed_from_camera=seen.fixed_from_camera,
            initial_camera_from_ct=start if seen.number == frames[0].number else None,
        )
        begun, begun_cpu = perf_counter(), process_time()
        try:
            result = tracker.track(frame)
        except RegistrationError:
            spent = perf_counter() - begun, process_time() - begun_cpu
            yield Tracked(seen.number, *spent, '', 'REFUSED')
        else:
            spent = perf_counter() - begun, process_time() - begun_cpu
            yield _judged(seen, result, spent, stream)


def _judged(
    seen: SimulatedFrame, result: RegistrationResult, spent: tuple[float, float], stream: Stream
) -> Tracked:
    pitch_mm = BENCH_GEOMETRY.pixel_pitch_mm * BENCH_GEOMETRY.height / seen.camera.height
    landmarks = stream.bench_ct.landmarks_mm
    error = pose_error(result.camera_from_ct[0], seen.truth, landmarks, seen.camera, pitch_mm)
    return Tracked(
        seen.number,
        *spent,
        result.method,
        result.verdict.name,
        error.mtre_mm,
        error.in_plane_mm,
        result.verification.tre_p95_mm,
        result.frames_since_full_checks,
    )


def summary(found: list[Tracked]) -> dict[str, float]:
    """Return the figures of a stream; times without its first frame, which compiles and starts."""
    seconds = np.array([one.seconds for one in found[1:]])
    followed = [one for one in found if one.method == METHOD]
    errors = np.array([one.mtre_mm for one in followed])
    bounds = np.array([one.bound_mm for one in followed])
    return {
        'frames': len(found),
        'frames_per_s': len(seconds) / seconds.sum(),
        'cpu_ms': 1e3 * float(np.mean([one.cpu_s for one in found[1:]])),
        'followed_cpu_ms': 1e3 * float(np.median([one.cpu_s for one in followed] or [np.nan])),
        'p50_ms': 1e3 * float(np.quantile(seconds, 0.5)),
        'p99_ms': 1e3 * float(np.quantile(seconds, 0.99)),
        'followed': len(followed),
        'verified': sum(one.verified for one in found),
        'wrong': sum(one.wrong for one in found),
        'in_plane_mm': float(np.median([one.in_plane_mm for one in followed] or [np.nan])),
        'mtre_mm': float(np.median(errors)) if followed else np.nan,
        'worst_verified_mm': max((one.mtre_mm for one in found if one.verified), default=np.nan),
        'bound_holds': float(np.mean(errors <= bounds)) if followed else np.nan,
    }


def event(name: str, frames: list[SimulatedFrame], other: Stream) -> list[SimulatedFrame]:
    """Return frames with an event in the middle."""
    middle = len(frames) // 2
    if name == 'jump':
        # Twelve frames' way at once; time goes on as if nothing had happened.
        times = [frame.time_s for frame in frames[middle:]]
        later = [*frames[middle + 12 :], *frames[middle : middle + 12]]
        moved = [replace(f, time_s=t) for f, t in zip(later, times, strict=True)]
        return frames[:middle] + moved
    changed = list(frames)
    for step, number in enumerate(range(middle, middle + 12)):
        frame, counts = frames[number], frames[number].counts
        if name == 'black' and step == 0:
            counts = np.zeros_like(counts)
        elif name == 'instrument':
            counts = (counts * np.exp(-_rod(counts.shape, step / 11))).astype(np.uint16)
        elif name == 'other CT' and step < 4:
            counts = other.frame(number % 23).counts
        changed[number] = replace(frame, counts=counts)
    return changed


def _rod(size: tuple[int, int], share: float) -> np.ndarray:
    """Return the line integral of an oblique rod of steel, 4 % of the width thick, on its way."""
    v, u = np.mgrid[: size[0], : size[1]]
    across = (u - share * size[1]) * 0.9 + (v - 0.5 * size[0]) * 0.436
    return 3.0 * np.sqrt(np.clip(1 - (across / (0.02 * size[1])) ** 2, 0, None))


def story(found: list[Tracked]) -> str:
    """Return what became of the frames, in runs of the same fate."""
    runs: list[list[str | int]] = []
    for one in found:
        fate = f'{one.verdict.lower()} ({"followed" if one.method == METHOD else "registered"})'
        fate = 'refused' if one.verdict == 'REFUSED' else fate
        if runs and runs[-1][0] == fate:
            runs[-1][1] = int(runs[-1][1]) + 1
        else:
            runs.append([fate, 1])
    return ', '.join(f'{count} {fate}' for fate, count in runs)


def main() -> None:
    """Print tables and a last line of figures."""
    arguments = _arguments()
    torch.set_num_threads(1)  # as in the node's worker
    cache, entries = PathCache(arguments.cache), []
    loaded = {name: BenchCT.load(CTS[name] or sample_ct_path()) for name in arguments.ct}
    count = 46 if arguments.quick else arguments.frames
    print(
        f'{"stream":<34}{"Hz":>7}{"CPU ms":>8}{"p50 ms":>8}{"p99 ms":>8}{"followed":>10}'
        f'{"verified":>10}{"wrong":>7}{"in plane":>10}{"mTRE":>7}{"worst":>7}{"bound":>7}'
    )
    for ct_name, bench_ct in loaded.items():
        for mover in MOVERS:
            for condition, disturbances in CONDITIONS.items():
                stream = Stream(bench_ct, Motion(mover), cache, disturbances=disturbances)
                name = f'{ct_name}, {mover}, {condition}'
                figures = summary(list(follow(stream, list(stream.frames(count)))))
                entries.append({'stream': name} | figures)
                print(_line(entries[-1]), flush=True)
    events = [] if arguments.no_events else list(_events(loaded, cache))
    node = None
    if arguments.node:
        stream = Stream(loaded[arguments.ct[0]], Motion('c-arm'), cache, size=512)
        path = CTS[arguments.ct[0]] or sample_ct_path()
        node = run_node(stream, path, arguments.rate, 10.0 if arguments.quick else 30.0)
        print(node)
    missed = _missed(entries, events, node)
    if arguments.json:
        content = {'streams': entries, 'events': events, 'node': node and asdict(node)}
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(content, indent=1) + '\n')
    print(_last_line(entries, events, node, missed))
    if arguments.strict and missed:
        sys.exit(1)


def _events(loaded: dict[str, BenchCT], cache: PathCache) -> Iterator[dict[str, object]]:
    (name, bench_ct), *others = loaded.items()
    stream = Stream(bench_ct, Motion('patient'), cache)
    other = Stream(others[0][1] if others else bench_ct, Motion('c-arm'), cache)
    for what in EVENTS:
        if what == 'other CT' and not others:
            print('other CT: needs a second --ct')
            continue
        found = list(follow(stream, event(what, list(stream.frames(46)), other)))
        print(f'{name}, {what}: {story(found)}', flush=True)
        yield {'event': what, 'wrong': _wrong(what, found), 'frames': [asdict(f) for f in found]}


def _wrong(what: str, found: list[Tracked]) -> int:
    """Return the frames that were VERIFIED and should not be: any of another CT at all."""
    foreign = range(23, 27) if what == 'other CT' else range(0)
    return sum(one.wrong or (one.verified and one.number in foreign) for one in found)


def _line(entry: dict[str, object]) -> str:
    e = entry
    return (
        f'{e["stream"]:<34}{e["frames_per_s"]:>7.1f}{e["cpu_ms"]:>8.1f}{e["p50_ms"]:>8.1f}{e["p99_ms"]:>8.1f}'
        f'{e["followed"]:>10}{e["verified"]:>10}{e["wrong"]:>7}{e["in_plane_mm"]:>10.2f}'
        f'{e["mtre_mm"]:>7.2f}{e["worst_verified_mm"]:>7.2f}{e["bound_holds"]:>7.3f}'
    )


def _missed(entries: list, events: list, node: NodeRun | None) -> list[str]:
    missed = []
    for entry in entries:
        if entry['frames_per_s'] < LIBRARY_HZ:
            missed.append(f'{entry["stream"]}: {entry["frames_per_s"]:.1f} Hz')
        if not entry['in_plane_mm'] <= IN_PLANE_MM:
            missed.append(f'{entry["stream"]}: {entry["in_plane_mm"]:.2f} mm in plane')
    wrong = sum(e['wrong'] for e in (*entries, *events)) + (node.wrong if node else 0)
    if wrong:
        missed.append(f'{wrong} frames VERIFIED beyond {WRONG_MM:g} mm')
    if node and node.results_hz < NODE_HZ:
        missed.append(f'node: {node.results_hz:.1f} Hz')
    return missed


def _last_line(entries: list, events: list, node: NodeRun | None, missed: list[str]) -> str:
    wrong = sum(e['wrong'] for e in (*entries, *events)) + (node.wrong if node else 0)
    parts = [
        f'track: {min(e["frames_per_s"] for e in entries):.1f} to '
        f'{max(e["frames_per_s"] for e in entries):.1f} frames/s',
        f'worst median in plane {max(e["in_plane_mm"] for e in entries):.2f} mm',
        f'{wrong} wrong of {sum(e["verified"] for e in entries)} VERIFIED',
    ]
    if node:
        parts.append(
            f'node {node.results_hz:.1f} Hz, p50 {node.p50_ms:.0f} ms, p99 {node.p99_ms:.0f} ms'
        )
    return '; '.join([*parts, 'missed: ' + ', '.join(missed) if missed else 'all targets met'])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('--ct', nargs='+', choices=CTS, default=['chest'], help='which CTs')
    add('--frames', type=int, default=300, help='frames of a stream')
    add('--no-events', action='store_true', help='leave the events out')
    add('--node', action='store_true', help='also through the node; needs ROS 2')
    add('--rate', type=float, default=NODE_HZ, help='images per second for the node')
    add('--quick', action='store_true', help='46 frames a stream, 10 s of the node')
    add('--strict', action='store_true', help='exit 1 where a target is missed')
    add('--cache', type=Path, default=default_cache_folder(), help='folder of path integrals')
    add('--json', type=Path, help='file for all figures')
    return parser.parse_args()


if __name__ == '__main__':
    main()
