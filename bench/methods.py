"""The learned method against images alone, on the cases of `register.py`; chest CT.

Parts: `methods`: far starts, and no initial guess at all; `solvers`: Levenberg-Marquardt against
gradient descent on the same network; `capture`: success by the distance of the start;
`acceptance`: learned against true distances and gradients; `networks`: other similarities
(--compare, --ablations) in the place of the one in --models. X-rays are those of another renderer,
DiffDRR's Siddon. Torch has one thread, as in the node.

A full run: --cases 100 --json FILE --output FOLDER. Parts may be run one by one into one file.
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numba
import torch
from _ablations import trained_in, with_similarity
from _acceptance import accept
from _capture import capture_ranges
from _learned import Learned, timed, without_guess
from _plots import draw
from _solvers import compare_solvers
from _study import Study
from _targets import FAR_CASES, NO_GUESS, print_targets, targets_of

from sph_reg_ros.evaluation.cases import CONDITIONS, BenchCT
from sph_reg_ros.evaluation.path_cache import PathCache, default_cache_folder
from sph_reg_ros.evaluation.protocols import FAR
from sph_reg_ros.evaluation.viewpoints import BENCH_GEOMETRY
from sph_reg_ros.imaging.sample_ct import sample_ct_path
from sph_reg_ros.registration.networks import Networks, find_networks

CT = 'chest'
OURS = 'shipped'
MODELS = Path(__file__).parents[1] / 'models'
POSE_SLOPES = ', pose slopes'
START_ALONE = 'far, start alone'


def main() -> None:
    """Print tables and targets; write every figure with --json, pictures with --output."""
    arguments = _arguments()
    torch.set_num_threads(1)
    numba.set_num_threads(arguments.threads)
    study = _study(arguments)
    if study is None:
        print(f'{arguments.models} has no networks for the {CT} CT: nothing was measured')
        return
    results = {part: PARTS[part](study, arguments) for part in arguments.parts}
    print_targets(targets_of(results, OURS))
    if arguments.json:
        _write(results, arguments)
    if arguments.output:
        draw(results, arguments.output)


def _methods(study: Study, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    learned, found = Learned(study.bench_ct, study.networks), []
    for condition in study.conditions:
        cases = study.cases(FAR, condition)
        found += study.rows(FAR_CASES, condition, learned.of_far_starts(FAR), cases)
        unguided = [without_guess(case, study.networks) for case in cases]
        found += study.rows(NO_GUESS, condition, learned.of_no_guess(), unguided)
    return [row.figures() for row in found]


def _networks(study: Study, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure each similarity by itself: no polish, and with and without the regressor."""
    found = []
    some = {name: Learned(study.bench_ct, n) for name, n in _similarities(study, arguments).items()}
    for condition in study.conditions:
        cases = study.cases(FAR, condition)
        unguided = [without_guess(case, study.networks) for case in cases]
        for protocol, tried in ((START_ALONE, cases), (NO_GUESS, unguided)):
            # The start of an unguided case is the regressed pose.
            methods = [
                timed(
                    name,
                    lambda case, one=one: one.by_sphere(case, case.start.camera_from_ct),
                )
                for name, one in some.items()
            ]
            found += study.rows(protocol, condition, methods, tried)
    return [row.figures() for row in found]


def _solvers(study: Study, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    return compare_solvers(study, arguments.steps, arguments.tuning)


def _capture(study: Study, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    return capture_ranges(study, arguments.starts)


def _acceptance(study: Study, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure slopes through the encoder, which are the similarity's own, and those in use."""
    similarities = _similarities(study, arguments)
    own = {name: replace(some, pose_slopes=False) for name, some in similarities.items()}
    in_use = {f'{name}{POSE_SLOPES}': n for name, n in similarities.items() if n.pose_slopes}
    return accept(study, own | in_use, arguments.displaced)


PARTS = {
    'methods': _methods,
    'solvers': _solvers,
    'capture': _capture,
    'acceptance': _acceptance,
    'networks': _networks,
}


def _similarities(study: Study, arguments: argparse.Namespace) -> dict[str, Networks]:
    """Return the networks with each similarity; the regressor is always the same."""
    folders = dict(arguments.compare)
    if arguments.ablations:
        folders |= dict(trained_in(arguments.ablations))
    others = {name: with_similarity(study.networks, folder) for name, folder in folders.items()}
    return {OURS: study.networks, **others}


def _study(arguments: argparse.Namespace) -> Study | None:
    bench_ct = BenchCT.load(sample_ct_path())
    networks = find_networks(bench_ct.ct.content_hash, [arguments.models])
    if networks is None:
        return None
    misfit = networks.misfit(BENCH_GEOMETRY.camera)
    if misfit:
        sys.exit(misfit)
    conditions = tuple(arguments.conditions)
    print(f'networks {networks.name}, {arguments.threads} threads of the renderer')
    return Study(CT, bench_ct, networks, PathCache(arguments.cache), arguments.cases, conditions)


def _write(results: dict[str, Any], arguments: argparse.Namespace) -> None:
    """Write figures; parts that a file has from another run stay, with their own settings."""
    path = arguments.json
    content = json.loads(path.read_text()) if path.is_file() else {}
    settings = {name: str(value) for name, value in vars(arguments).items()}
    content |= {part: {'settings': settings, 'figures': found} for part, found in results.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + '\n')


def named_folder(text: str) -> tuple[str, Path]:
    """Return name and folder of NAME=FOLDER."""
    name, _, folder = text.partition('=')
    if not name or not Path(folder).is_dir():
        raise argparse.ArgumentTypeError(f'{text!r} is not NAME=FOLDER with a folder that exists')
    return name, Path(folder)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('--parts', nargs='+', choices=PARTS, default=['methods', 'acceptance'], help='what to run')
    add('--cases', type=int, default=4, help='of each protocol and condition')
    add('--conditions', nargs='+', choices=CONDITIONS, default=list(CONDITIONS), help='X-rays')
    add('--models', type=Path, default=MODELS, help='folder of networks')
    add('--compare', nargs='+', type=named_folder, default=[], help='similarities: NAME=FOLDER')
    add('--ablations', type=Path, help='folder of train_ablations.py, whose all are compared')
    add('--steps', type=int, default=200, help='of gradient descent')
    add('--tuning', type=int, default=4, help='cases to find each learning rate with')
    add('--starts', type=int, default=3, help='of each X-ray, for the capture range')
    add('--displaced', type=int, default=8, help='renderings for each X-ray, for the acceptance')
    add('--threads', type=int, default=numba.config.NUMBA_NUM_THREADS, help='of the renderer')
    add('--json', type=Path, help='file for all figures')
    add('--output', type=Path, help='folder for pictures')
    add('--cache', type=Path, default=default_cache_folder(), help='folder of path integrals')
    arguments = parser.parse_args()
    for name in ('cases', 'steps', 'tuning', 'starts', 'displaced', 'threads'):
        if getattr(arguments, name) < 1:
            parser.error(f'--{name} must be at least 1')
    return arguments


if __name__ == '__main__':
    main()
