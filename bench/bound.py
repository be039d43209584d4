"""Does the 95 % bound hold on a CT that it was not calibrated on?

X-rays are those of register.py, in several fields of view, one from the front or the side, or both
together; clean, disturbed, or as a display shows them (`edges` of evaluation.clinical: 8 bits,
windowed, edges enhanced). The registration starts at the truth, so that the optimum is judged and
not the search. Counted are poses that pass every check but the bound: of them the bound speaks.
For each CT the scale of the bound is taken from the other CTs (the conformal quantile of the ratio
of error and estimate: Vovk et al., Algorithmic Learning in a Random World, 2005) and tried on it,
within strata of views, field and condition; "now" is the scale of gate_limits.py.

A full run, minutes a CT: --ct chest pelvis lumbar trunk head --pairs 6 --json bound.json; then
--load bound.json --strict. With --load, nothing is registered.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from _gate_report import Share
from _targets import Target, print_targets
from register import CTS, DATA

from sph_reg_ros.errors import RegistrationError
from sph_reg_ros.evaluation.cases import CONDITIONS, STARTS_PER_XRAY, BenchCT, Case, CaseMaker
from sph_reg_ros.evaluation.clinical import DISPLAYS, clinical_counts, displayed
from sph_reg_ros.evaluation.path_cache import PathCache, default_cache_folder
from sph_reg_ros.evaluation.protocols import NEAR
from sph_reg_ros.evaluation.viewpoints import FIELD_MM
from sph_reg_ros.geometry import se3
from sph_reg_ros.imaging.sample_ct import sample_ct_path
from sph_reg_ros.imaging.xray.intensity import IntensityModel
from sph_reg_ros.imaging.xray.prepare import prepare_xray
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.gate.target_errors import TargetErrors
from sph_reg_ros.registration.register import register
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.view import View

ALL_CTS = CTS | {'trunk': DATA / 'lumbar-pelvis_totalsegmentator-example_3mm.nii.gz'}
FIELDS_MM = (FIELD_MM, 200.0, 150.0)
DISPLAY = 'display'
PARTS = ('total_mm', 'across_mm', 'along_mm')
OF_BOUND = 'tre_p95'
COVERAGE, TARGET = 0.95, 0.93
MANY = 100
"""Poses in a stratum from which on the target counts."""


@dataclass(frozen=True)
class BoundTrial:
    """One registration: true error and estimated one, all of it, across the beam and along it."""

    ct: str
    condition: str
    field_mm: float
    views: int
    case: int
    error: tuple[float, float, float]
    estimate: tuple[float, float, float]
    bound: tuple[float, float, float]
    failed: tuple[str, ...]

    @property
    def counts(self) -> bool:
        """Return whether the pose passes every check but the bound."""
        return not [name for name in self.failed if not name.startswith(OF_BOUND)]

    @property
    def stratum(self) -> str:
        """Return views, field and condition in words."""
        field = 'whole field' if self.field_mm >= FIELD_MM else 'small field'
        return f'{self.views} view{"s" if self.views > 1 else ""}, {field}, {self.condition}'


def main() -> None:
    """Print a table; write every trial with --json."""
    arguments = _arguments()
    if arguments.load:
        trials = [
            _trial_from(row) for path in arguments.load for row in json.loads(path.read_text())
        ]
    else:
        trials = [trial for name in arguments.ct for trial in _trials_of(name, arguments)]
    if not trials:
        sys.exit('nothing was measured')
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(trial) for trial in trials], indent=1) + '\n')
    targets = _report([trial for trial in trials if trial.counts])
    print_targets(targets)
    held = sum(target.met for target in targets)
    print(f'bound: {len(trials)} registrations, {held} of {len(targets)} targets met')
    if arguments.strict and held < len(targets):
        sys.exit(1)


def _trials_of(name: str, arguments: argparse.Namespace) -> Iterator[BoundTrial]:
    path = ALL_CTS[name] or sample_ct_path()
    if not path.exists():
        return
    bench_ct = BenchCT.load(path)
    for field_mm in arguments.field_mm:
        for condition in arguments.condition:
            physics = CONDITIONS[-1] if condition == DISPLAY else condition
            maker = CaseMaker(NEAR, physics, PathCache(arguments.cache), field_mm=field_mm)
            for pair in range(arguments.pairs):
                # Even poses look from the front, odd ones from the side; each has its own noise.
                first = 2 * pair * STARTS_PER_XRAY
                for again in range(arguments.again):
                    cases = [
                        maker.case(bench_ct, number + again)
                        for number in (first, first + STARTS_PER_XRAY)
                    ]
                    if condition == DISPLAY:
                        cases = [
                            replace(case, view=_displayed(bench_ct, maker, case)) for case in cases
                        ]
                    for chosen in ([cases[0]], [cases[1]], cases):
                        trial = _trial(name, bench_ct, chosen, field_mm, condition)
                        if trial is not None:
                            print(trial, file=sys.stderr, flush=True)
                            yield trial


def _trial(
    name: str, bench_ct: BenchCT, cases: list[Case], field_mm: float, condition: str
) -> BoundTrial | None:
    views = tuple(replace(case.view, fixed_from_camera=se3.inverse(case.truth)) for case in cases)
    config = RegistrationConfig(method='image', starts=0, calibration='exact')
    request = RegistrationRequest(bench_ct.volume, views, cases[0].truth, config)
    try:
        result = register(request)
    except RegistrationError:
        return None
    errors = TargetErrors(
        result.camera_from_ct[0],
        result.centre_lps_mm,
        bench_ct.landmarks_mm,
        torch.tensor(result.verification.along, dtype=torch.float64),
    )
    figures = (errors.to(cases[0].truth), result.verification.estimate, result.verification.bound)
    error, estimate, bound = (tuple(getattr(one, part) for part in PARTS) for one in figures)
    failed = tuple(check.name for check in result.checks if not check.passed)
    place = name, condition, field_mm, len(cases), cases[0].number
    return BoundTrial(*place, error, estimate, bound, failed)


def _displayed(bench_ct: BenchCT, maker: CaseMaker, case: Case) -> View:
    """Return the X-ray of a case as a display shows it."""
    ct_hash, patient = bench_ct.ct.series_uid_hash, bench_ct.patient
    integrals = maker.cache.integrals(ct_hash, lambda: patient, case.truth, case.camera)
    counts = clinical_counts(integrals, np.random.default_rng(case.number))
    pixels = displayed(counts, DISPLAYS['edges']).astype(np.float32)
    image, mask = prepare_xray(torch.from_numpy(pixels), IntensityModel())
    return View(image, case.camera, mask)


def _trial_from(row: dict[str, object]) -> BoundTrial:
    fields = {
        name: tuple(value) if isinstance(value, list) else value for name, value in row.items()
    }
    return BoundTrial(**fields)  # type: ignore[arg-type]


def scale_of(trials: Sequence[BoundTrial], part: int) -> float:
    """Return the conformal quantile of error / estimate: of n ratios number ceil(0.95 (n + 1))."""
    ratios = sorted(trial.error[part] / trial.estimate[part] for trial in trials)
    place = math.ceil(COVERAGE * (len(ratios) + 1))
    return ratios[place - 1] if place <= len(ratios) else math.inf


def _report(trials: list[BoundTrial]) -> list[Target]:
    targets = []
    for stratum in sorted({trial.stratum for trial in trials}):
        some = [trial for trial in trials if trial.stratum == stratum]
        print(f'\n{stratum}: {len(some)} poses')
        for part, title in enumerate(PARTS):
            held = sum(t.error[part] <= t.bound[part] for t in some)
            tried = [
                trial.error[part] <= scale * trial.estimate[part]
                for ct in sorted({t.ct for t in some})
                for scale in [scale_of([t for t in some if t.ct != ct], part)]
                for trial in some
                if trial.ct == ct
            ]
            errors, bounds = (sorted(f(t)[part] for t in some) for f in (_error, _bound))
            middle = len(some) // 2
            one = len({trial.ct for trial in some}) == 1
            left_out = 'no other CT' if one else f'CT left out {Share(sum(tried), len(tried))}'
            print(
                f'  {title:10} now {Share(held, len(some))}; {left_out}; scale '
                f'{scale_of(some, part):.2f}; median error {errors[middle]:.2f}, bound '
                f'{bounds[middle]:.2f}'
            )
            if len(some) >= MANY:
                share = held / len(some)
                met = share >= TARGET
                targets.append(
                    Target(f'{stratum}: {title} held', f'>= {TARGET:.0%}', f'{share:.0%}', met)
                )
    return targets


def _error(trial: BoundTrial) -> tuple[float, float, float]:
    return trial.error


def _bound(trial: BoundTrial) -> tuple[float, float, float]:
    return trial.bound


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('--ct', nargs='+', choices=ALL_CTS, default=['chest'], help='which CTs')
    add('--field-mm', nargs='+', type=float, default=list(FIELDS_MM), help='edges of the detector')
    add('--condition', nargs='+', default=[*CONDITIONS, DISPLAY], help='of the X-rays')
    add('--pairs', type=int, default=1, help='pairs of X-ray poses of each CT, field, condition')
    add('--again', type=int, default=2, choices=range(1, 5), help='X-rays of each pose')
    add('--load', nargs='+', type=Path, help='trials of earlier runs; nothing is registered')
    add('--quick', action='store_true', help='the defaults')
    add('--json', type=Path, help='file for all trials')
    add('--strict', action='store_true', help='exit 1 where a target is missed')
    add('--cache', type=Path, default=default_cache_folder(), help='folder of path integrals')
    return parser.parse_args()


if __name__ == '__main__':
    torch.set_num_threads(1)
    main()
