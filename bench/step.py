"""Time of a solver's step: rendering with derivative, then normal equations of rows of poses.

The normal equations by Gram matrices and those by residuals one by one (what a robust kernel
takes) run in turn on the same renderings, as do scores.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from _scenes import CHEST, make_scene

from sph_reg_ros.geometry import se3
from sph_reg_ros.rendering.render import render, render_with_jacobian
from sph_reg_ros.similarity import IMAGE_SIMILARITIES, prepare_similarity
from sph_reg_ros.similarity.normal_equations import of_residuals

DEFAULT = 'mapped_ncc+gradient'
MAIN, LIMIT_MS = (256, 1, DEFAULT), 10.1
"""Size, rows and similarity of the target, and what plain torch took for that step."""
SPREAD = torch.tensor([0.02] * 3 + [3.0] * 3, dtype=torch.float64)
PARTS = ('render', 'equations', 'residuals', 'score')
Row = dict[str, float | int | str]


def measure(size: int, rows: int, names: list[str], repeats: int) -> list[Row]:
    """Return medians in ms of each part of a step, for each similarity."""
    scene = make_scene(CHEST, size, 'cpu')
    camera, truth = scene.camera, scene.poses[0]
    block = max(1, 256 // size)
    volume = scene.volume.downsampled((block,) * 3) if block > 1 else scene.volume
    xray = render(scene.volume, truth, camera.K, camera.size)
    random = torch.Generator().manual_seed(0)
    twists = SPREAD * torch.randn(rows, 6, generator=random, dtype=torch.float64)
    poses = se3.apply_twist(twists, truth.expand(rows, 4, 4), volume.centre)
    images, jacobians = render_with_jacobian(volume, poses, camera.K, camera.size)
    interleaved = jacobians.contiguous()
    found: list[Row] = []
    for name in names:
        similarity = prepare_similarity(name, xray)
        programs: dict[str, Callable[[], object]] = {
            'render': lambda: render_with_jacobian(volume, poses, camera.K, camera.size),
            'equations': lambda s=similarity: s.normal_equations(images, jacobians),
            'residuals': lambda s=similarity: of_residuals(s.residuals, images, interleaved),
            'score': lambda s=similarity: s.score(images),
        }
        times: dict[str, list[float]] = {part: [] for part in PARTS}
        for turn in range(repeats + 1):
            for part, program in programs.items():
                begun = time.perf_counter()
                program()
                if turn > 0:  # the first one compiles
                    times[part].append(1e3 * (time.perf_counter() - begun))
        figures = {f'{part}_ms': statistics.median(values) for part, values in times.items()}
        least = {f'{part}_min_ms': min(values) for part, values in times.items()}
        found.append({'size': size, 'rows': rows, 'similarity': name, **figures, **least})
    return found


def print_rows(rows: list[Row]) -> None:
    """Print medians and, in brackets, the least."""
    for row in rows:
        parts = [f'{row[f"{part}_ms"]:9.2f} ({row[f"{part}_min_ms"]:7.2f})' for part in PARTS]
        print(f'{row["size"]:>5}{row["rows"]:>5}  {row["similarity"]:<22}{" ".join(parts)}')


def main() -> int:
    """Measure, print, say whether the target is met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--quick', action='store_true', help='fewer sizes and rounds')
    parser.add_argument('--json', type=Path, help='write the figures here')
    parser.add_argument('--strict', action='store_true', help='fail where the target is missed')
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # as in a registration
    sizes = (64, 256) if arguments.quick else (32, 64, 128, 256)
    names = [DEFAULT, 'local_ncc'] if arguments.quick else list(IMAGE_SIMILARITIES)
    repeats = 7 if arguments.quick else 15
    print(f'{"px":>5}{"rows":>5}  {"similarity":<22}' + ' '.join(f'{p:>19}' for p in PARTS))
    rows: list[Row] = []
    for size in sizes:
        for count in (1, 16):
            some = measure(size, count, names, repeats)
            print_rows(some)
            rows += some
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))
    main_row = next(r for r in rows if (r['size'], r['rows'], r['similarity']) == MAIN)
    step = float(main_row['render_ms']) + float(main_row['equations_ms'])
    before = float(main_row['render_ms']) + float(main_row['residuals_ms'])
    met = step <= LIMIT_MS
    print(
        f'step of {DEFAULT} at 256 px: {step:.1f} ms, by residuals {before:.1f} ms, '
        f'wanted {LIMIT_MS}: {"met" if met else "MISSED"}'
    )
    return int(arguments.strict and not met)


if __name__ == '__main__':
    raise SystemExit(main())
