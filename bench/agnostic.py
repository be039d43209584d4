"""Networks for a CT that they have never seen: trained on other CTs, measured on the chest.

Regressor and similarity learn from random parts and mirror images of all CTs but one; the
regressor looks at the CT that it is given. Then the one left out is registered without an initial
guess. A full run: --images 60000 60000 --cases 100 --output FOLDER; without --output it is only
tried, and the figures mean nothing.
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import torch
from _bound import agnostic_networks
from _learned import Learned, without_guess
from _study import Study
from _trainings import folder_or_none, train
from register import CTS, DATA

from sph_reg_ros.evaluation.cases import CONDITIONS, BenchCT
from sph_reg_ros.evaluation.path_cache import PathCache, default_cache_folder
from sph_reg_ros.evaluation.protocols import FAR
from sph_reg_ros.imaging.load import load_ct
from sph_reg_ros.imaging.sample_ct import sample_ct_path
from sph_reg_ros.training.config import TrainingConfig
from sph_reg_ros.training.config_file import read_config
from sph_reg_ros.training.job import KINDS, TrainingJob

CONFIG = Path(__file__).parents[1] / 'config' / 'train_quick.yaml'
LEFT_OUT = 'chest'
COARSE_CT = DATA / 'lumbar-pelvis_totalsegmentator-example_3mm.nii.gz'


def main() -> None:
    """Train, then print a table; write every figure with --json."""
    arguments = _arguments()
    paths = [path for name, path in CTS.items() if name != LEFT_OUT and path is not None]
    paths = [path for path in (*paths, COARSE_CT) if path.exists()]
    if len(paths) < 2:
        print(f'the CTs to learn from are not in {DATA}: nothing was measured')
        return
    config = read_config(arguments.config)
    anatomy = replace(config.anatomy, crops=arguments.crops, flips=True)
    config = replace(with_images(config, *arguments.images), anatomy=anatomy)
    with folder_or_none(arguments.output) as folder:
        if not arguments.measure_only:
            cts = tuple(load_ct(path) for path in paths)
            for kind in KINDS:
                train(TrainingJob(kind, cts, config), folder / kind)
        _measure(folder, arguments, anatomy.cube_voxels, [path.name for path in paths])


def with_images(config: TrainingConfig, regressor: int, similarity: int) -> TrainingConfig:
    """Return settings with other numbers of X-rays to learn from."""
    changed = {}
    for kind, images in zip(KINDS, (regressor, similarity), strict=True):
        settings = getattr(config, kind)
        schedule = replace(settings.schedule, images=images)
        changed[kind] = replace(settings, schedule=schedule)
    return replace(config, **changed)


def _measure(folder: Path, arguments: argparse.Namespace, voxels: int, learned: list[str]) -> None:
    torch.set_num_threads(1)  # as the node's worker
    bench_ct = BenchCT.load(sample_ct_path())
    networks = agnostic_networks(folder, bench_ct.volume, voxels)
    study = Study(
        LEFT_OUT,
        bench_ct,
        networks,
        PathCache(arguments.cache),
        arguments.cases,
        tuple(arguments.conditions),
    )
    rows = []
    for condition in study.conditions:
        cases = [without_guess(case, networks) for case in study.cases(FAR, condition)]
        methods = Learned(bench_ct, networks).of_no_guess()
        found = study.rows('no guess, CT never seen', condition, methods, cases)
        rows += [row.figures() for row in found]
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        content = {'learned_from': learned, 'left_out': LEFT_OUT, 'rows': rows}
        arguments.json.write_text(json.dumps(content, indent=1) + '\n')


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('--config', type=Path, default=CONFIG, help='settings to start from')
    add('--images', type=int, nargs=2, default=[64, 64], help='for regressor and similarity')
    add('--crops', type=int, default=4, help='random parts of each CT, beside the whole')
    add('--cases', type=int, default=2, help='cases of each condition')
    add('--conditions', nargs='+', choices=CONDITIONS, default=list(CONDITIONS), help='X-rays')
    add('--output', type=Path, help='folder of both trainings')
    add('--measure-only', action='store_true', help='of the weights that are in --output')
    add('--json', type=Path, help='file for all figures')
    add('--cache', type=Path, default=default_cache_folder(), help='folder of path integrals')
    arguments = parser.parse_args()
    if arguments.cases < 1 or min(arguments.images) < 1:
        parser.error('--cases and --images must be at least 1')
    if arguments.measure_only and not arguments.output:
        parser.error('--measure-only needs --output')
    return arguments


if __name__ == '__main__':
    sys.exit(main())
