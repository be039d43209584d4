"""Single-view registrations from known errors of the start, with peers beside them.

X-rays are simulated from the full-resolution CT with DiffDRR's Siddon and prepared as the product
prepares any X-ray: I0, saturation and the collimator are found, not told. Every method gets the
same prepared X-ray, mask and start. Times are those of one registration; what is done once for a
CT (loading, compiling) is not among them. A baseline is stopped at its time limit and keeps the
pose that it has then. The pelvis CT is shorter than the field of view, so that its X-rays show its
cut ends.

The path integrals of the X-rays take seconds each; they are kept in the cache for the next run.
A full run: --ct chest pelvis lumbar --protocol near far --cases 100 --baselines 4 --limit 600.
Without initial pose, from all directions: --ct chest pelvis lumbar head --protocol no_guess --cases
100 --strict, then --ct lumbar --field-mm 150 and 110, aimed at the spine.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from _methods import BASELINES, DEFAULT, baselines, ours
from _no_guess import targets_without_guess
from _table import Row, heading, line, write_worst
from _targets import print_targets

from sph_reg_ros.evaluation.cases import CONDITIONS, BenchCT, Case, CaseMaker, all_disturbances
from sph_reg_ros.evaluation.disturbances import DISTURBANCES, Disturbances
from sph_reg_ros.evaluation.path_cache import PathCache, default_cache_folder
from sph_reg_ros.evaluation.protocols import PROTOCOLS
from sph_reg_ros.evaluation.trials import judge
from sph_reg_ros.evaluation.viewpoints import FIELD_MM
from sph_reg_ros.imaging.sample_ct import sample_ct_path

DATA = Path(__file__).parents[2] / 'shared' / 'data'
# The two pelvis and lumbar CTs of clinical resolution; the head has voxels of 3 mm.
CTS = {
    'chest': None,
    'pelvis': DATA / 'pelvis_visible-human-male_1mm.nii.gz',
    'lumbar': DATA / 'lumbar-pelvis_ACRIN-FLT-Breast-001.nii.gz',
    'head': DATA / 'head_vtk-headsq_3mm.nrrd',
}


def main() -> None:
    """Print a table; write every figure with --json and the worst cases with --output."""
    arguments = _arguments()
    print(f'{torch.get_num_threads()} threads')
    rows = []
    for name in arguments.ct:
        path = CTS[name] or sample_ct_path()
        if not path.exists():
            print(f'{name}: {path.name} is not here, left out')
            continue
        for row in _measure(name, BenchCT.load(path), arguments):
            rows.append(row.figures())
    if not rows:
        sys.exit('nothing was measured')
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(rows, indent=1) + '\n')
    targets = targets_without_guess(rows, arguments.field_mm)
    print_targets(targets)
    if arguments.strict and not all(target.met for target in targets):
        sys.exit(1)


def _measure(name: str, bench_ct: BenchCT, arguments: argparse.Namespace) -> Iterator[Row]:
    for protocol in (PROTOCOLS[key] for key in arguments.protocol):
        for condition in arguments.condition:
            forced = _forced(arguments.disturbance)
            cache, field_mm = PathCache(arguments.cache), arguments.field_mm
            maker = CaseMaker(protocol, condition, cache, forced, field_mm=field_mm)
            cases = list(_shown('X-rays', maker.cases(bench_ct, range(arguments.cases))))
            print(f'\n{name}, {protocol.name}, {condition}\n{heading()}')
            few = cases[: arguments.baselines] if protocol.told else []
            pairs = [(ours(m, bench_ct, protocol), cases) for m in arguments.method]
            pairs[0][0].register(cases[0])  # compiles, and coarsens the CT
            peers = baselines(arguments.peers if few else [], bench_ct, protocol, arguments.limit)
            for method, some in (*pairs, *((peer, few) for peer in peers)):
                shown = _shown(method.name, some)
                trials = [judge(case, bench_ct, method.register(case)) for case in shown]
                row = Row(name, protocol.name, condition, method.name, some, trials)
                print(line(row), flush=True)
                if arguments.output:
                    write_worst(row, bench_ct, arguments.output)
                yield row


def _shown(what: str, cases: Iterable[Case]) -> Iterator[Case]:
    """Count cases on a terminal."""
    for number, case in enumerate(cases, start=1):
        if sys.stderr.isatty():
            print(f'\r{what}: {number}\033[K\r', end='', file=sys.stderr, flush=True)
        yield case


def _forced(names: list[str]) -> Disturbances | None:
    if not names:
        return None
    return all_disturbances() if 'all' in names else Disturbances(frozenset(names))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('--ct', nargs='+', choices=CTS, default=['chest'], help='which CTs')
    add('--protocol', nargs='+', choices=PROTOCOLS, default=['near'], help='where to start')
    add('--condition', nargs='+', choices=CONDITIONS, default=list(CONDITIONS), help='which X-rays')
    add(
        '--disturbance',
        nargs='+',
        choices=[*DISTURBANCES, 'all'],
        default=[],
        help='of every disturbed X-ray; a random combination each if not given',
    )
    add('--cases', type=int, default=8, help='cases of each protocol and condition')
    add(
        '--method',
        nargs='+',
        default=[DEFAULT],
        help='default, SIMILARITY or SIMILARITY/KERNEL (names: RegistrationConfig)',
    )
    add('--peers', nargs='+', choices=BASELINES, default=list(BASELINES), help='which baselines')
    add('--baselines', type=int, default=1, help='cases of each baseline, 0 for none')
    add('--limit', type=float, default=12.0, help='seconds that a baseline has for a case')
    add('--field-mm', type=float, default=FIELD_MM, help='edge of the detector')
    add('--strict', action='store_true', help='fail where a target of no_guess is missed')
    add('--json', type=Path, help='file for all figures')
    add('--output', type=Path, help='folder for pictures of the worst cases')
    add('--cache', type=Path, default=default_cache_folder(), help='folder of path integrals')
    arguments = parser.parse_args()
    if arguments.cases < 1:
        parser.error('--cases must be at least 1')
    return arguments


if __name__ == '__main__':
    main()
