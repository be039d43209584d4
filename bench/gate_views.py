"""Two X-rays before the gate, one of whose imagers is not where it says to be.

One X-ray is taken from the front, one from the side, as in gate.py, clean or disturbed. The second
imager's pose is right, or wrong by 3 to 10 mm and by 2 to 5 degrees about the patient's middle. The
registration starts from a good initial pose. A result is as wrong as its worse view: correct below
2 mm of mean target registration error, wrong from 3 mm on.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from _gate_report import Share
from _gate_trials import CORRECT_MM, WRONG_MM
from _methods import search_config
from register import CTS

from sph_reg_ros.errors import RegistrationError
from sph_reg_ros.evaluation.cases import CONDITIONS, STARTS_PER_XRAY, BenchCT, Case, CaseMaker
from sph_reg_ros.evaluation.path_cache import PathCache, default_cache_folder
from sph_reg_ros.evaluation.protocols import NEAR
from sph_reg_ros.geometry import se3
from sph_reg_ros.geometry.box import mean_distance_mm
from sph_reg_ros.imaging.sample_ct import sample_ct_path
from sph_reg_ros.registration.register import register
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.result import RegistrationResult, Verdict

SHIFT_MM, TURN_DEG = (3.0, 10.0), (2.0, 5.0)
"""By how much a wrong imager pose is wrong, in a random direction each."""


@dataclass(frozen=True)
class ViewsTrial:
    """One registration of two X-rays.

    Attributes:
        ct: name of the CT.
        condition: of both X-rays.
        case: number of the first.
        moved: whether the second imager's pose was wrong.
        error_mm: mean target registration error of the worse view.
        verified: whether the pose would have been published.
        bound_mm: 95 % bound of the gate.
        disagreement_mm: figure of the check of each view.
        failed: names of the checks that did not pass.
    """

    ct: str
    condition: str
    case: int
    moved: bool
    error_mm: float
    verified: bool
    bound_mm: float
    disagreement_mm: float
    failed: tuple[str, ...]


def main() -> None:
    """Print the table; write every trial with --json."""
    arguments = _arguments()
    trials = []
    for name in arguments.ct:
        path = CTS[name] or sample_ct_path()
        if not path.exists():
            continue
        bench_ct = BenchCT(name, BenchCT.load(path).ct)
        for pair in range(arguments.pairs):
            trials += list(_trials(bench_ct, pair, arguments.cache))
            print(f'\r{name} {pair}', end='', flush=True)
    _report(trials)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps([asdict(trial) for trial in trials]) + '\n')


def _trials(bench_ct: BenchCT, pair: int, cache: Path) -> Iterator[ViewsTrial]:
    condition = CONDITIONS[pair % len(CONDITIONS)]
    maker = CaseMaker(NEAR, condition, PathCache(cache))
    # Even poses look from the front, odd ones from the side.
    first = 2 * pair * STARTS_PER_XRAY
    cases = [maker.case(bench_ct, number) for number in (first, first + STARTS_PER_XRAY)]
    for moved in (False, True):
        twist = _imager_error(np.random.default_rng(pair)) if moved else torch.zeros(6).double()
        said = se3.apply_twist(twist, cases[1].truth, bench_ct.volume.centre)
        try:
            result = register(_request(bench_ct, cases, said))
        except RegistrationError:
            continue
        yield _trial(bench_ct, cases, result, condition, moved)


def _imager_error(generator: np.random.Generator) -> torch.Tensor:
    turn, shift = (row / np.linalg.norm(row) for row in generator.normal(size=(2, 3)))
    degrees, millimetres = generator.uniform(*TURN_DEG), generator.uniform(*SHIFT_MM)
    return torch.from_numpy(np.concatenate([np.radians(degrees) * turn, millimetres * shift]))


def _request(bench_ct: BenchCT, cases: list[Case], said: torch.Tensor) -> RegistrationRequest:
    """Return what the registration gets; the frame that the views share is that of the CT."""
    views = tuple(
        replace(case.view, fixed_from_camera=se3.inverse(pose))
        for case, pose in zip(cases, (cases[0].truth, said), strict=True)
    )
    config = search_config(NEAR)
    return RegistrationRequest(bench_ct.volume, views, cases[0].start.camera_from_ct, config)


def _trial(
    bench_ct: BenchCT, cases: list[Case], result: RegistrationResult, condition: str, moved: bool
) -> ViewsTrial:
    errors_mm = [
        float(mean_distance_mm(found, case.truth, bench_ct.landmarks_mm))
        for found, case in zip(result.camera_from_ct, cases, strict=True)
    ]
    figures = {check.name: check.value for check in result.checks}
    return ViewsTrial(
        bench_ct.name,
        condition,
        cases[0].number,
        moved,
        max(errors_mm),
        result.verdict == Verdict.VERIFIED,
        result.verification.tre_p95_mm,
        figures['views_disagree_mm'],
        tuple(check.name for check in result.checks if not check.passed),
    )


def _report(trials: list[ViewsTrial]) -> None:
    print('\nimager poses, error of the worse view: VERIFIED; within the bound; disagreement (mm)')
    for moved, kind in ((False, 'right'), (True, 'wrong')):
        some = [trial for trial in trials if trial.moved == moved]
        for low, high in ((0.0, CORRECT_MM), (CORRECT_MM, WRONG_MM), (WRONG_MM, float('inf'))):
            part = [trial for trial in some if low <= trial.error_mm < high]
            if not part:
                continue
            passed = Share(sum(trial.verified for trial in part), len(part))
            bounded = Share(sum(t.error_mm <= t.bound_mm for t in part), len(part))
            figures = sorted(trial.disagreement_mm for trial in part)
            spread = f'{figures[0]:.2f} to {figures[-1]:.2f}'
            print(f'{kind} {low:g} to {high:g} mm: {passed}; {bounded}; {spread}')


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('--pairs', type=int, default=10, help='pairs of X-rays of each CT')
    add('--ct', nargs='+', choices=CTS, default=list(CTS), help='which CTs')
    add('--json', type=Path, help='file for all trials')
    add('--cache', type=Path, default=default_cache_folder(), help='folder of path integrals')
    return parser.parse_args()


if __name__ == '__main__':
    torch.set_num_threads(1)
    main()
