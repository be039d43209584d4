"""Registration on real fluoroscopy: knee implants by their outlines, two views, one, and tracked.

References are model-based, a silver standard: what lies off may be they (`--output` shows outlines
of both over the X-rays).
"""

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from _targets import Target, print_targets

from sph_reg_ros.geometry import Camera, se3, so3
from sph_reg_ros.imaging.bodies.mesh import parse_mesh
from sph_reg_ros.imaging.load import load_xray
from sph_reg_ros.imaging.xray.intensity import IntensityModel
from sph_reg_ros.imaging.xray.prepare import prepare_xray
from sph_reg_ros.registration.outline_search import OutlineFit, find_outlines, follow_outlines
from sph_reg_ros.registration.view import View
from sph_reg_ros.rendering.outline import Edges, outline

DATA = Path(__file__).resolve().parents[2] / 'shared' / 'data' / 'knee_implant'
DEGREES, MILLIMETRES = 10.0, 10.0
CONSECUTIVE = 60


@dataclass(frozen=True)
class Errors:
    """Differences from the reference: the centre in mm, across and along its ray; degrees."""

    centre_mm: float
    across_mm: float
    along_mm: float
    degrees: float


@dataclass(frozen=True)
class Case:
    """One registration of one body."""

    frame: str
    body: str
    errors: Errors
    from_best: Errors
    explained: float
    rival_explained: float
    rival_mm: float
    sigma_mm: tuple[float, float, float]
    seconds: float


@dataclass(frozen=True)
class Exposure:
    """X-rays of one moment, and reference poses of bodies in the first camera."""

    frame: str
    views: tuple[View, ...]
    bodies: dict[str, Edges]
    poses: dict[str, torch.Tensor]


class Knee:
    """Reads X-rays and references."""

    def __init__(self, folder: Path) -> None:
        """Read the references of a folder."""
        self.folder = folder
        self.reference = json.loads((folder / 'reference.json').read_text())
        self.meshes: dict[str, Edges] = {}

    def frames(self, kind: str) -> list[str]:
        """Return the names of all frames, `biplane` or `mono`."""
        return sorted(self.reference[kind]['frames'])

    def two_views(self, frame: str, cameras: Sequence[str] = ('cam1', 'cam2')) -> Exposure:
        """Return a frame of the two views, or of one of them."""
        views, poses = [], []
        for name in cameras:
            given = self.reference['biplane']['cameras'][name]
            placed = se3.inverse(_rigid(given['camera_from_world']))
            views.append(self._view(f'biplane_{frame}_{name}', given, placed))
        given = self.reference['biplane']['frames'][frame]['world_from_fem']
        poses = {'fem': se3.inverse(views[0].fixed_from_camera) @ _rigid(given)}
        return Exposure(frame, tuple(views), {'fem': self._mesh('biplane_fem')}, poses)

    def one_view(self, frame: str) -> Exposure:
        """Return a frame of the single view."""
        given = self.reference['mono']
        view = self._view(f'mono_{frame}', given['camera'], None)
        poses = {name: _rigid(given['frames'][frame][name]) for name in ('fem', 'tib')}
        return Exposure(frame, (view,), {n: self._mesh(f'mono_{n}') for n in poses}, poses)

    def _view(self, name: str, given: dict[str, Any], placed: torch.Tensor | None) -> View:
        camera = Camera(torch.tensor(given['K'], dtype=torch.float64), *given['size'])
        image = load_xray(self.folder / f'{name}.png', camera=camera)
        integrals, mask = prepare_xray(
            image.pixels, IntensityModel(), mask=image.mask, mask_saturation=False
        )
        return View(integrals, camera, mask, placed)

    def _mesh(self, name: str) -> Edges:
        if name not in self.meshes:
            self.meshes[name] = _stl(self.folder / f'{name}.stl')
        return self.meshes[name]


def compare(pose: torch.Tensor, other: torch.Tensor, body: Edges) -> Errors:
    """Return how far a pose is from another."""
    centre = torch.from_numpy(body.centre)[None]
    found, expected = (se3.transform_points(T, centre)[0] for T in (pose, other))
    shift, ray = found - expected, expected / expected.norm()
    along = float(shift @ ray)
    turn = float(so3.log(pose[:3, :3] @ other[:3, :3].T).norm())
    across = float((shift - along * ray).norm())
    return Errors(float(shift.norm()), across, along, math.degrees(turn))


def perturbed(pose: torch.Tensor, body: Edges, seed: int) -> torch.Tensor:
    """Return a pose turned by DEGREES and shifted by MILLIMETRES in random directions."""
    turn, shift = np.random.default_rng(seed).normal(size=(2, 3))
    twist = np.concatenate(
        [
            turn / np.linalg.norm(turn) * math.radians(DEGREES),
            shift / np.linalg.norm(shift) * MILLIMETRES,
        ]
    )
    return se3.apply_twist(torch.from_numpy(twist), pose, torch.from_numpy(body.centre))


def from_starts(exposure: Exposure, starts: int, output: Path | None) -> list[Case]:
    """Register all bodies from perturbed starts."""
    names = list(exposure.bodies)
    bodies = [exposure.bodies[name] for name in names]
    right = [exposure.poses[name] for name in names]
    widths = torch.tensor(
        [math.radians(DEGREES) / 3**0.5] * 3 + [MILLIMETRES / 3**0.5] * 3, dtype=torch.float64
    )
    cases, fits = [], []
    for seed in range(starts):
        begun = time.perf_counter()
        rough = [
            perturbed(pose, body, 100 * k + seed)
            for k, (pose, body) in enumerate(zip(right, bodies, strict=True))
        ]
        found = find_outlines(exposure.views, bodies, rough, [widths] * len(bodies))
        fits.append((found, time.perf_counter() - begun))
    for k, name in enumerate(names):
        best = max((found[k] for found, _ in fits), key=lambda fit: fit.explained).pose
        for found, seconds in fits:
            cases.append(_case(exposure, name, found[k], best, seconds))
    if output:
        best_fits = max((found for found, _ in fits), key=lambda f: sum(x.explained for x in f))
        draw(exposure, [fit.pose for fit in best_fits], output)
    return cases


def tracked(knee: Knee, frames: Sequence[str], output: Path | None) -> list[Case]:
    """Follow the femoral component from the first frame's reference, at constant velocity."""
    cases: list[Case] = []
    pose = before = knee.two_views(frames[0]).poses['fem']
    reading_s = []
    for frame in frames:
        read = time.perf_counter()
        exposure = knee.two_views(frame)
        begun = time.perf_counter()
        reading_s.append(begun - read)
        body = exposure.bodies['fem']
        expected = _orthogonal(pose @ se3.inverse(before) @ pose)
        (fit,) = follow_outlines(exposure.views, [body], [expected])
        seconds = time.perf_counter() - begun
        before, pose = pose, fit.pose
        cases.append(_case(exposure, 'fem', fit, fit.pose, seconds))
        if output and frame in (frames[0], frames[len(frames) // 2], frames[-1]):
            draw(exposure, [fit.pose], output, 'tracked')
    # The first frame compiles, or reads what was compiled.
    each = sorted(r + case.seconds for r, case in zip(reading_s[1:], cases[1:], strict=True))
    print(
        f'tracked with the reading and preparing of both X-rays: {1 / statistics.median(each):.1f} '
        f'frames/s, at worst {each[-1]:.2f} s a frame'
    )
    return cases


def _case(
    exposure: Exposure, name: str, fit: OutlineFit, best: torch.Tensor, seconds: float
) -> Case:
    body = exposure.bodies[name]
    return Case(
        exposure.frame,
        name,
        compare(fit.pose, exposure.poses[name], body),
        compare(fit.pose, best, body),
        fit.explained,
        fit.rival_explained,
        fit.rival_mm,
        tuple(fit.evidence.covariance.diagonal()[3:].clamp(min=0).sqrt().tolist()),
        seconds,
    )


def draw(
    exposure: Exposure, poses: Sequence[torch.Tensor], folder: Path, kind: str = 'found'
) -> None:
    """Write each X-ray with outlines: found green, reference red."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, view in enumerate(exposure.views):
        other = torch.eye(4, dtype=torch.float64)
        if number:
            first = exposure.views[0].fixed_from_camera
            other = se3.inverse(view.fixed_from_camera) @ first
        scale = 2
        grey = (255 * np.exp(-view.line_integrals.numpy())).clip(0, 255).astype(np.uint8)
        picture = cv2.cvtColor(cv2.resize(grey, None, fx=scale, fy=scale), cv2.COLOR_GRAY2BGR)
        low, high = [], []
        pairs = zip(exposure.bodies.items(), poses, strict=True)
        for (name, body), pose in pairs:
            for T, colour in ((exposure.poses[name], (0, 0, 255)), (pose, (0, 255, 0))):
                drawn = outline(body, (other @ T).numpy(), view.camera, 0.5)
                for x, y in drawn.pixels:
                    at = (round((x + 0.5) * scale), round((y + 0.5) * scale))
                    cv2.circle(picture, at, 0, colour, -1)
                low.append(drawn.pixels.min(0))
                high.append(drawn.pixels.max(0))
        left, top = ((np.min(low, 0) - 30).clip(0) * scale).astype(int)
        right, bottom = ((np.max(high, 0) + 30) * scale).astype(int)
        name = f'{kind}_{exposure.frame}_view{number + 1}.png'
        cv2.imwrite(str(folder / name), picture[top:bottom, left:right])


def row_of(
    what: str, cases: Sequence[Case], limits: Sequence[tuple[str, float]], share: float
) -> Target:
    """Print how many cases keep to limits, and medians; return what share of them should."""
    right = sum(all(abs(getattr(c.errors, n)) <= most for n, most in limits) for c in cases)
    same = sum(c.from_best.across_mm < 0.3 and c.from_best.degrees < 1.0 for c in cases)
    medians = {
        n: statistics.median(abs(getattr(c.errors, n)) for c in cases)
        for n in Errors.__dataclass_fields__
    }
    print(
        f"{what:28} {right:4d} of {len(cases):4d}  at the frame's best pose {same:4d}  medians "
        f'{medians["centre_mm"]:.2f} mm, across {medians["across_mm"]:.2f}, along '
        f'{medians["along_mm"]:.2f} mm, {medians["degrees"]:.2f} deg, '
        f'{statistics.median(c.seconds for c in cases):.2f} s; explained min '
        f'{min(c.explained for c in cases):.2f}',
        flush=True,
    )
    within = ', '.join(f'{name} {most:g}' for name, most in limits)
    met = right >= share * len(cases)
    return Target(f'{what}: {within}', f'>= {share:.0%}', f'{right} of {len(cases)}', met)


def main() -> None:
    """Print the tables."""
    arguments = _parser().parse_args()
    data = arguments.data
    if not data.is_dir():
        print('skipped: the knee data is not there')
        return
    knee, targets = Knee(data), []
    rows = _known(arguments.json) if arguments.resume else {}
    until = time.monotonic() + 60 * arguments.minutes

    def registered(kind: str, exposures: Iterable[tuple[str, Callable[[], Exposure]]]) -> None:
        """Add cases of frames that are not known yet; write all after each frame."""
        cases = rows.setdefault(kind, [])
        known = {case.frame for case in cases}
        for frame, exposure in exposures:
            if frame not in known and time.monotonic() < until:
                cases += from_starts(exposure(), starts, arguments.output)
                _write(arguments.json, rows)

    frames = knee.frames('biplane')
    chosen = arguments.frames or (frames[::21] if arguments.quick else frames)
    starts = 3 if arguments.quick else arguments.starts
    two, one = [('centre_mm', 1.0), ('degrees', 1.5)], [('across_mm', 0.7), ('degrees', 2.0)]
    if 'two' in arguments.parts:
        registered('two', ((frame, partial(knee.two_views, frame)) for frame in chosen))
        targets.append(row_of('two views', rows['two'], two, 0.95))
    if 'track' in arguments.parts:
        run = frames[: 12 if arguments.quick else CONSECUTIVE]
        rows['track'] = tracked(knee, run, arguments.output)
        targets.append(row_of('two views, tracked', rows['track'], two, 1.0))
    if 'one' in arguments.parts:
        mono = knee.frames('mono')
        registered('one', ((frame, partial(knee.one_view, frame)) for frame in mono))
        for body in ('fem', 'tib'):
            cases = [case for case in rows['one'] if case.body == body]
            targets.append(row_of(f'one view, {body}', cases, one, 0.9))
    _write(arguments.json, rows)
    print_targets(targets)
    print('real: ' + '; '.join(f'{target.what} {target.found}' for target in targets))
    if arguments.strict and not all(target.met for target in targets):
        sys.exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--data', type=Path, default=DATA, help='folder of the knee data')
    parser.add_argument('--parts', nargs='+', default=['two', 'track', 'one'])
    parser.add_argument('--frames', nargs='+', help='of the two views; all if not given')
    parser.add_argument('--starts', type=int, default=10, help='of every frame')
    parser.add_argument('--quick', action='store_true', help='few frames and starts')
    parser.add_argument('--output', type=Path, help='folder for pictures')
    parser.add_argument('--strict', action='store_true', help='exit 1 where a target is missed')
    parser.add_argument('--json', type=Path, help='file for all figures')
    parser.add_argument('--resume', action='store_true', help='skip the frames that it holds')
    parser.add_argument('--minutes', type=float, default=math.inf, help='no new frame after these')
    return parser


def _write(path: Path | None, rows: dict[str, list[Case]]) -> None:
    if path:
        plain = {name: [asdict(case) for case in cases] for name, cases in rows.items()}
        path.write_text(json.dumps(plain, indent=1) + '\n')


def _known(path: Path | None) -> dict[str, list[Case]]:
    """Return the cases of an earlier run."""
    if path is None or not path.is_file():
        return {}

    def case(given: dict[str, Any]) -> Case:
        errors = {name: Errors(**given[name]) for name in ('errors', 'from_best')}
        return Case(**{**given, **errors})

    plain = json.loads(path.read_text())
    return {name: [case(given) for given in cases] for name, cases in plain.items()}


def _stl(path: Path) -> Edges:
    mesh = parse_mesh(path)
    return Edges.of_mesh(mesh.vertices, mesh.faces)


def _orthogonal(transform: torch.Tensor) -> torch.Tensor:
    return _rigid(transform.tolist())


def _rigid(matrix: object) -> torch.Tensor:
    T = torch.tensor(matrix, dtype=torch.float64)
    u, _, v = torch.linalg.svd(T[:3, :3])
    return se3.from_parts(u @ v, T[:3, 3])


if __name__ == '__main__':
    main()
