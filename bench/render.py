"""Time, accuracy and memory of the renderers: ours, DiffDRR's and nanodrr's, on the same views.

All run in turn in one process. A trilinear peer takes as many samples a ray as make its image error
against a very fine quadrature equal to ours; a peer's Jacobian is the cheapest that it allows, the
image and six more (one-sided differences). A ratio is a peer's time over that of our program of the
same kind just before.
"""

import argparse
import json
import math
import os
import platform
import time
import warnings
from importlib.metadata import version
from pathlib import Path

import numba
import torch
from _accuracy import matched_points
from _interleaved import Effort, run_in_turn, summary
from _limits import arithmetic_ns_per_sample, reading_gb_per_s
from _memory import peak_memory_mb
from _programs import KINDS, OURS, PEERS, JacobianBy, ours, peer
from _scenes import CHEST, BenchScene, make_scene, voxels_on_the_rays
from _start import first_image_s

from sph_reg_ros.rendering.render import resolve_backend

MAIN_SIZE, MAIN_SCENE = 256, '256'
Row = dict[str, float | str | int]
COLUMNS = (
    ('ms_median', 'ms', 10, '.1f'),
    ('ms_min', 'min', 10, '.1f'),
    ('ms_max', 'max', 10, '.1f'),
    ('runs', 'runs', 5, 'd'),
    ('ratio_median', 'ratio', 8, '.1f'),
    ('ratio_min', 'min', 8, '.1f'),
    ('ratio_max', 'max', 8, '.1f'),
    ('error', 'error', 9, '.1e'),
    ('depth_error', 'depth', 9, '.1e'),
    ('memory_mb', 'MB', 8, '.0f'),
)


def cases(arguments: argparse.Namespace) -> list[tuple[str, int]]:
    """Return (scene, size): every size at the first volume, every volume at the first size."""
    first = arguments.volumes[0]
    chosen = [(first, size) for size in arguments.sizes]
    chosen += [(volume, arguments.sizes[0]) for volume in arguments.volumes[1:]]
    return chosen


def measure(scene: BenchScene, size: int, arguments: argparse.Namespace) -> list[Row]:
    """Time every program on one scene and, where asked for, its memory."""
    own, peers, points = ours(scene, 'auto'), [], {OURS: 0}
    by = JacobianBy(arguments.central, arguments.double_backward)
    for name in arguments.peers:
        needs_points = name != 'DiffDRR Siddon'
        points[name] = matched_points(name, scene.name, arguments.device) if needs_points else 0
        peers += peer(name, scene, points[name], by)
    timings = run_in_turn(scene, own, peers, Effort(arguments.repeats, arguments.limit))
    rows = []
    for (name, kind), timing in timings.items():
        row: Row = {'scene': scene.name, 'size': size, 'program': name, 'kind': kind}
        row |= summary(timing) | {'points': points.get(name, 0)}
        here = (scene.name, size) == cases(arguments)[0]
        if arguments.memory and here and name in points and not timing.note:
            task = (name, kind, points[name])
            row['memory_mb'] = peak_memory_mb(scene.name, size, arguments.device, task)
        rows.append(row)
    return rows


def print_table(scene: BenchScene, size: int, rows: list[Row]) -> None:
    """Print one block of the table."""
    shape = ' x '.join(str(edge) for edge in scene.volume.shape)
    backend = resolve_backend('auto', scene.volume)
    print(f'\n{scene.name}: volume {shape}, image {size} x {size}, ours: {backend}')
    titles = ''.join(f'{title:>{width}}' for _, title, width, _ in COLUMNS)
    print(f'{"":44}{titles}')
    for kind in KINDS:
        for row in (row for row in rows if row['kind'] == kind):
            points = f' n={row["points"]}' if row['points'] else ''
            cells = ''.join(
                f'{row[key]:{width}{spec}}' if key in row else ' ' * width
                for key, _, width, spec in COLUMNS
            )
            print(f'{kind + ": " + str(row["program"]) + points:44}{cells}  {row["note"]}')


def distance_from_limits(scene: BenchScene, rows: list[Row], device: str) -> Row:
    """Compare our kernel with what the machine could do."""
    own = {row['kind']: row for row in rows if row['program'] == OURS}
    samples = voxels_on_the_rays(scene)
    cores = numba.get_num_threads() if device == 'cpu' else 1
    figures: Row = {'scene': scene.name, 'reading_gb_per_s': reading_gb_per_s(device)}
    limits = arithmetic_ns_per_sample() if device == 'cpu' else {}
    for kind in (KINDS[0], KINDS[2]):
        seconds = float(own[kind]['ms_min']) / 1e3
        figures[f'{kind}: ns per sample and core'] = 1e9 * seconds * cores / samples
        figures[f'{kind}: limit ns'] = limits.get(kind, float('nan'))
    voxel_bytes = 2 if device == 'cpu' else 4
    once = math.prod(scene.volume.shape) * voxel_bytes / float(figures['reading_gb_per_s']) / 1e6
    figures['ms to read the volume once'] = once
    return figures


def print_limits(figures: Row) -> None:
    """Print how far our kernel is from the limits."""
    print(
        f'\nlimits, {figures["scene"]}: reading in order {figures["reading_gb_per_s"]:.1f} GB/s, '
    )
    print(f'  the volume once: {figures["ms to read the volume once"]:.1f} ms')
    for kind in (KINDS[0], KINDS[2]):
        taken = float(figures[f'{kind}: ns per sample and core'])
        limit = float(figures[f'{kind}: limit ns'])
        print(
            f'  {kind}: {taken:.2f} ns a sample and core, counting the skipped samples in air; '
            f'arithmetic from the first cache would take {limit:.2f} ns ({limit / taken:.0%})'
        )


def first_line(device: str) -> str:
    """Name versions, cores and device."""
    peers = ', '.join(f'{name} {version(name)}' for name in ('diffdrr', 'nanodrr'))
    where = torch.cuda.get_device_name() if device == 'cuda' else platform.processor() or 'CPU'
    return (
        f'sph_reg_ros {version("sph_reg_ros")}, torch {torch.__version__}, numba '
        f'{numba.__version__}, {peers}; {os.cpu_count()} cores, threads: torch '
        f'{torch.get_num_threads()}, numba {numba.get_num_threads()}; {device}: {where}'
    )


def parsed_arguments() -> argparse.Namespace:
    """Return the command line's choices."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add('--sizes', type=int, nargs='+', help='edges of the image; the first for all volumes')
    add('--volumes', nargs='+', help='edges of the phantom, or "chest"; the first for all sizes')
    add('--peers', nargs='*', choices=PEERS, help='renderers beside ours')
    add('--repeats', type=int, help='rounds over the views')
    add('--limit', type=float, help='seconds that one run of a peer may take')
    add('--central', action='store_true', help="peers' Jacobians by twelve central differences")
    add('--double-backward', action='store_true', help="... by torch's double backward")
    add(
        '--memory', action=argparse.BooleanOptionalAction, help='peak memory, first volume and size'
    )
    add('--device', choices=('cpu', 'cuda'))
    add('--full', action='store_true', help='all sizes, volumes and peers: an hour on two cores')
    add('--json', type=Path, help='file for all figures')
    quick = {
        'sizes': [MAIN_SIZE], 'volumes': [MAIN_SCENE, CHEST], 'repeats': 1, 'limit': 12.0,
        'peers': [name for name in PEERS if 'compiled' not in name], 'memory': False,
    }  # fmt: skip
    full = {
        'sizes': [MAIN_SIZE, 64, 128, 512], 'volumes': [MAIN_SCENE, CHEST, '128', '384', '512'],
        'repeats': 5, 'limit': 120.0, 'peers': list(PEERS), 'memory': True,
    }  # fmt: skip
    arguments = parser.parse_args()
    for name, value in (full if arguments.full else quick).items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)
    arguments.device = arguments.device or ('cuda' if torch.cuda.is_available() else 'cpu')
    return arguments


def main() -> None:
    """Print the tables; write every figure with --json."""
    arguments = parsed_arguments()
    warnings.simplefilter('ignore')  # of torchio and torch.compile, about themselves
    print(first_line(arguments.device), flush=True)
    began, rows, limits = time.perf_counter(), [], []
    start = dict(zip(('compiling', 'compiled'), first_image_s(), strict=True))
    print('first image of a process: {compiling:.1f} s, then {compiled:.1f} s'.format(**start))
    for name, size in cases(arguments):
        scene = make_scene(name, size, arguments.device)
        block = measure(scene, size, arguments)
        rows += block
        print_table(scene, size, block)
        if size == arguments.sizes[0]:
            limits.append(distance_from_limits(scene, block, arguments.device))
            print_limits(limits[-1])
    print(f'\n{time.perf_counter() - began:.0f} s')
    if arguments.json:
        figures = {'setting': first_line(arguments.device), 'first image, s': start}
        figures |= {'rows': rows, 'limits': limits}
        arguments.json.write_text(json.dumps(figures, indent=2) + '\n')


if __name__ == '__main__':
    main()
