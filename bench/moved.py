"""Bodies that moved since the CT: is a target VERIFIED only if it is where the pose says?

A vertebra shifted by 5 mm, a femur flexed by 10 degrees, half a breath; and patients in whom
nothing moved but gas and contrast medium are elsewhere (`_moved_scene`). Every X-ray is judged for
several targets: what moved, vertebrae that did not, and the whole region. By two X-rays the limit
is max_tre_mm, by one it is max_tre_across_mm: one says little about the depth.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from _moved_scene import KINDS, STILL, MovedCase, Patient, case_of, patients
from _targets import Target as Wanted
from _targets import print_targets
from bodies import DATA
from torch import Tensor

from sph_reg_ros.errors import RegistrationError
from sph_reg_ros.geometry import se3
from sph_reg_ros.imaging.bodies.labels import LabelMap
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.gate.target_errors import TargetErrors
from sph_reg_ros.registration.gate.targets import target_points
from sph_reg_ros.registration.register import register
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.result import RegistrationResult, Verdict
from sph_reg_ros.registration.target import Target, find_target

CASES = {'vertebra': 16, 'femur': 8, 'breath': 8, 'still': 8, 'gas': 8, 'contrast': 8}
"""Of each CT."""
MAX_TRE_MM, MAX_ACROSS_MM = 3.0, 2.0
RIGHT_MM = 1.5
"""A target is right below it: as a surgeon would say of a vertebra."""
RIGHT_SHARE = 0.8
WHOLE = 'whole region'


@dataclass(frozen=True)
class Trial:
    """One target of one case.

    Attributes:
        patient: name of the CT.
        kind: what moved.
        number: of the case.
        disturbed: whether its X-rays are.
        views: how many.
        target: its name.
        moved: whether it is what moved.
        error_mm: of the pose at the target, or its part across the beam where there is one X-ray.
        bound_mm: of the same.
        verdict: name of it.
        reason: name of the code; NONE if it is verified.
        failed: names of the checks.
        moved_mm: how far the gate found it to have moved.
        parts: sizes (mm) of what the gate found to have moved anywhere.
        seconds: that registration and checks took.
    """

    patient: str
    kind: str
    number: int
    disturbed: bool
    views: int
    target: str
    moved: bool
    error_mm: float
    bound_mm: float
    verdict: str
    reason: str
    failed: tuple[str, ...]
    moved_mm: float
    parts: tuple[float, ...]
    seconds: float

    @property
    def is_right(self) -> bool:
        """Return whether the target is where the pose says."""
        return self.error_mm < RIGHT_MM

    @property
    def is_verified(self) -> bool:
        """Return whether it may be used."""
        return self.verdict == Verdict.VERIFIED.name

    @property
    def deceived(self) -> bool:
        """Return whether it is VERIFIED and wrong by more than its bound."""
        return self.is_verified and self.error_mm > self.bound_mm


class Judge:
    """Registers the cases of one patient, for all targets."""

    def __init__(self, patient: Patient) -> None:
        """Cut out the vertebrae and what moves."""
        self.patient = patient
        names = {number: name for name, number in patient.vertebrae.items()}
        labels, voxels = list(patient.vertebrae), patient.labels.astype('int16')
        if patient.has_femur:
            voxels[patient.femur] = 1000
            names[1000] = 'femur'
            labels.append('femur')
        label_map = LabelMap(voxels, patient.ct_from_index.numpy(), names)
        self.targets: dict[str, Target] = {}
        for label in labels:
            found = find_target(label, patient.volume, label_map)
            assert found is not None
            self.targets[label] = found

    def trials(self, case: MovedCase, views: int) -> Iterator[Trial]:
        """Yield what came of each target of a case, by so many X-rays."""
        limit = {'max_tre_across_mm': MAX_ACROSS_MM} if views == 1 else {'max_tre_mm': MAX_TRE_MM}
        config = RegistrationConfig(method='image', **limit)
        request = RegistrationRequest(self.patient.volume, case.views[:views], case.start, config)
        whole, seconds = _registered(request)
        if whole is None:
            return
        points = target_points(self.patient.volume)
        yield self._trial(case, views, WHOLE, points, whole, seconds)
        near = replace(
            request,
            initial_camera_from_ct=whole.camera_from_ct[0],
            config=replace(config, starts=0),
        )
        for name in self._chosen(case):
            target = self.targets[name]
            found, seconds = _registered(replace(near, target=target))
            if found is not None:
                yield self._trial(case, views, name, target.points, found, seconds)

    def _chosen(self, case: MovedCase) -> list[str]:
        """Return what moved, and two vertebrae that did not."""
        spine = [name for name in self.patient.vertebrae if name != case.moved]
        first = case.number % len(spine)
        others = [spine[first], spine[(first + 2) % len(spine)]]
        if case.kind == 'femur':
            others = spine[-1:]  # The others are not in view.
        return [case.moved, *others] if case.moved in self.targets else others

    def _trial(
        self,
        case: MovedCase,
        views: int,
        name: str,
        points: Tensor,
        result: RegistrationResult,
        seconds: float,
    ) -> Trial:
        verification = result.verification
        now = case.truths[0] @ _rigid_motion(case, name, points)
        along = torch.tensor(verification.along, dtype=torch.float64)
        errors = TargetErrors(result.camera_from_ct[0], points.mean(0), points, along).to(now)
        one = views == 1
        checks = {check.name: check.value for check in result.checks}
        finding = result.finding
        return Trial(
            case.patient,
            case.kind,
            case.number,
            case.disturbed,
            views,
            name,
            name == case.moved,
            errors.across_mm if one else errors.total_mm,
            verification.bound.across_mm if one else verification.bound.total_mm,
            result.verdict.name,
            'NONE' if finding is None else finding.code.name,
            tuple(check.name for check in result.checks if not check.passed),
            checks.get('target_moved_mm', math.nan),
            tuple(round(part.size_mm, 2) for part in verification.moved),
            seconds,
        )


def _rigid_motion(case: MovedCase, name: str, points: Tensor) -> Tensor:
    """Return the rigid motion [4, 4] nearest to that of a target's points (Kabsch, 1976)."""
    there = case.motion(name, points)
    here_mean, there_mean = points.mean(0), there.mean(0)
    U, _, Vt = torch.linalg.svd((there - there_mean).T @ (points - here_mean))
    sign = torch.diag(torch.tensor([1.0, 1.0, float(torch.det(U @ Vt))]).double())
    rotation = U @ sign @ Vt
    return se3.from_parts(rotation, there_mean - rotation @ here_mean)


def _registered(request: RegistrationRequest) -> tuple[RegistrationResult | None, float]:
    begun = time.perf_counter()
    try:
        return register(request), time.perf_counter() - begun
    except RegistrationError as error:
        print(f'refused: {error}', file=sys.stderr)
        return None, time.perf_counter() - begun


def targets_of(trials: Sequence[Trial]) -> list[Wanted]:
    """Print counts by kind and views; return what they should be."""
    named = [trial for trial in trials if trial.target != WHOLE]
    for kind in KINDS:
        for views in (1, 2):
            for what, of_kind in (
                ('what moved', [t for t in named if t.moved]),
                ('vertebrae in place', [t for t in named if not t.moved]),
                (WHOLE, [t for t in trials if t.target == WHOLE]),
            ):
                chosen = [t for t in of_kind if (t.kind, t.views) == (kind, views)]
                if chosen:
                    print(f'{kind:9} {views} view(s) {what:19} {_counts(chosen)}', flush=True)
    wrong = [t for t in named if t.error_mm > t.bound_mm]
    deceived = sum(t.deceived for t in named)
    right = [t for t in named if t.is_right]
    share = sum(t.is_verified for t in right) / max(len(right), 1)
    unmoved = [t for t in trials if t.kind in STILL]
    alarms = sum('moved_part_mm' in t.failed or 'target_moved_mm' in t.failed for t in unmoved)
    return [
        Wanted(
            f'targets wrong by more than their bound ({len(wrong)}) and VERIFIED',
            '0',
            f'{deceived} of {len(named)}',
            deceived == 0,
        ),
        Wanted(
            'right targets that are VERIFIED',
            f'>= {RIGHT_SHARE:.0%}',
            f'{share:.0%} of {len(right)}',
            share >= RIGHT_SHARE,
        ),
        Wanted(
            'nothing moved, but something is said to have',
            '<= 3 %',
            f'{alarms} of {len(unmoved)}',
            alarms <= 0.03 * len(unmoved),
        ),
    ]


def _counts(trials: Sequence[Trial]) -> str:
    right = [t for t in trials if t.is_right]
    said = sum(t.reason == 'BODY_MOVED' for t in trials)
    return (
        f'{len(trials):4} trials, {len(right):3} right, of them VERIFIED '
        f'{sum(t.is_verified for t in right):3}; wrong {len(trials) - len(right):3}, of them '
        f'VERIFIED {sum(t.is_verified for t in trials if not t.is_right)}, beyond the bound '
        f'{sum(t.deceived for t in trials)}; reason BODY_MOVED {said}'
    )


def main() -> None:
    """Run the cases and print the table."""
    arguments = _parser().parse_args()
    trials: list[Trial] = []
    for patient in patients(arguments.data):
        if patient.name not in arguments.scenes:
            continue
        judge = Judge(patient)
        for kind in arguments.kinds:
            if kind == 'femur' and not patient.has_femur:
                continue
            count = arguments.cases or CASES[kind]
            for number in range(arguments.first, arguments.first + count):
                case = case_of(patient, kind, number)
                for views in arguments.views:
                    for trial in judge.trials(case, views):
                        trials.append(trial)
                        if arguments.verbose:
                            print(_line(trial), flush=True)
                if arguments.json:
                    content = [asdict(trial) for trial in trials]
                    arguments.json.write_text(json.dumps(content, indent=1) + '\n')
    wanted = targets_of(trials)
    print_targets(wanted)
    verified = sum(trial.is_verified for trial in trials)
    print(f'moved: {verified} of {len(trials)} VERIFIED, {sum(t.deceived for t in trials)} wrongly')
    if arguments.strict and not all(target.met for target in wanted):
        sys.exit(1)


def _line(t: Trial) -> str:
    return (
        f'{t.patient} {t.kind} {t.number} {"disturbed" if t.disturbed else "clean":9} {t.views} '
        f'{t.target:12} {"moved" if t.moved else "":5} error {t.error_mm:.2f} bound '
        f'{t.bound_mm:.2f} found {t.moved_mm:.2f} {t.verdict} {t.reason} {t.failed} {t.parts} '
        f'{t.seconds:.1f} s'
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--data', type=Path, default=DATA, help='folder of the shared data')
    parser.add_argument('--scenes', nargs='+', default=['chest', 'lumbar'])
    parser.add_argument('--kinds', nargs='+', default=list(KINDS), choices=KINDS)
    parser.add_argument('--views', nargs='+', type=int, default=[1, 2], choices=(1, 2))
    parser.add_argument('--first', type=int, default=0, help='number of the first case')
    parser.add_argument('--cases', type=int, help='of each kind and CT; odd ones disturbed')
    parser.add_argument('--quick', dest='cases', action='store_const', const=2, help='two cases')
    parser.add_argument('--verbose', action='store_true', help='a line a trial')
    parser.add_argument('--json', type=Path, help='file for all figures')
    parser.add_argument('--strict', action='store_true', help='exit 1 where a target is missed')
    return parser


if __name__ == '__main__':
    main()
