"""Tables of a gate: what it let pass, what it refused, whether its bound holds, what it costs."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from _gate_poses import BEYOND, KINDS, RIGHT
from _gate_split import Split, splits
from _gate_trials import CORRECT_MM, WRONG_MM, GateTrial

Z_95 = 1.959964


class Share(NamedTuple):
    """A number of trials out of many, with its 95 % confidence interval."""

    count: int
    total: int

    @property
    def interval(self) -> tuple[float, float]:
        """Return Wilson's interval (E. B. Wilson, J. Am. Stat. Assoc. 22, 1927)."""
        if self.total == 0:
            return 0.0, 1.0
        n, p = self.total, self.count / self.total
        middle = (p + Z_95**2 / (2 * n)) / (1 + Z_95**2 / n)
        half = Z_95 / (1 + Z_95**2 / n) * math.sqrt(p * (1 - p) / n + Z_95**2 / (4 * n * n))
        return max(0.0, middle - half), min(1.0, middle + half)

    def __str__(self) -> str:
        """Return count, percentage and interval."""
        if self.total == 0:
            return 'none'
        low, high = (100 * end for end in self.interval)
        share = 100 * self.count / self.total
        return f'{self.count} of {self.total} = {share:.1f} % (95 %: {low:.1f} to {high:.1f})'


def report(trials: Sequence[GateTrial]) -> None:
    """Print every table."""
    _print_targets(trials)
    _print_kinds(trials)
    _print_strata(trials)
    _print_checks(trials)
    _print_splits(trials)
    _print_costs(trials)


def share_of(trials: Sequence[GateTrial], holds: Callable[[GateTrial], bool]) -> Share:
    """Count the trials of which something holds."""
    return Share(sum(map(holds, trials)), len(trials))


def claimed(trials: Sequence[GateTrial]) -> list[GateTrial]:
    """Return the trials that the gate is there for."""
    return [trial for trial in trials if trial.kind not in BEYOND]


def covered(trial: GateTrial) -> bool:
    """Return whether the error keeps to its bound."""
    return trial.error_mm <= trial.bound_mm


def _print_targets(trials: Sequence[GateTrial]) -> None:
    some = claimed(trials)
    wrong = [trial for trial in some if trial.wrong]
    correct = [trial for trial in some if trial.correct and trial.kind in RIGHT]
    between = [trial for trial in some if not trial.wrong and not trial.correct]
    print(f'\n\nwrong: error from {WRONG_MM:g} mm on; correct: below {CORRECT_MM:g} mm')
    print('wrong poses VERIFIED          ', share_of(wrong, _verified))
    print('correct poses VERIFIED        ', share_of(correct, _verified))
    for condition in sorted({trial.condition for trial in correct}):
        part = [trial for trial in correct if trial.condition == condition]
        print(f'  {condition:<28}', share_of(part, _verified))
    print('poses in between VERIFIED     ', share_of(between, _verified))
    bounded = [trial for trial in correct + between if math.isfinite(trial.bound_mm)]
    print('errors of these within bound  ', share_of(bounded, covered))
    verified = [trial for trial in bounded if trial.verified]
    print('  of those VERIFIED           ', share_of(verified, covered))
    if len(bounded) > 2:
        estimates, errors = ([f(t) for t in bounded] for f in (_estimate, _error))
        print(f'rank correlation of estimate and error {_rank_correlation(estimates, errors):.2f}')
        print(f'median bound {np.median([t.bound_mm for t in bounded]):.2f} mm')


def _print_kinds(trials: Sequence[GateTrial]) -> None:
    print(f'\n{"kind":<20}{"settled":>8}{"poses":>7}{"wrong":>7}{"VERIFIED":>10}{"REJECTED":>10}')
    for kind in KINDS:
        for settled in (False, True):
            some = [t for t in trials if t.kind == kind and t.settled == settled]
            if not some:
                continue
            counts = [sum(t.verdict == name for t in some) for name in ('VERIFIED', 'REJECTED')]
            wrong = sum(t.wrong for t in some)
            print(
                f'{kind:<20}{"yes" if settled else "no":>8}{len(some):>7}{wrong:>7}'
                f'{counts[0]:>10}{counts[1]:>10}'
            )


def strata(trials: Sequence[GateTrial]) -> Iterator[tuple[str, list[GateTrial]]]:
    """Yield the trials of each CT, field and kind of X-ray, with its name; none that is all."""
    for title, of in (('', _ct), ('field of ', _field), ('', _condition)):
        names = sorted({of(trial) for trial in trials})
        for name in names if len(names) > 1 else ():
            yield f'{title}{name}', [trial for trial in trials if of(trial) == name]


def _print_strata(trials: Sequence[GateTrial]) -> None:
    """Print what is VERIFIED of right and wrong poses in each stratum, with intervals."""
    print(f'\n{"stratum":<20}{"correct VERIFIED":<44}wrong VERIFIED')
    for name, some in strata(claimed(trials)):
        correct = [trial for trial in some if trial.correct and trial.kind in RIGHT]
        wrong = [trial for trial in some if trial.wrong]
        shares = (str(share_of(part, _verified)) for part in (correct, wrong))
        print(f'{name:<20}' + ''.join(f'{share:<44}' for share in shares).rstrip())


def _ct(trial: GateTrial) -> str:
    return trial.ct


def _field(trial: GateTrial) -> str:
    return f'{trial.field_mm:3.0f} mm'


def _condition(trial: GateTrial) -> str:
    return trial.condition


def _print_checks(trials: Sequence[GateTrial]) -> None:
    some = [trial for trial in claimed(trials) if trial.figures]
    wrong = [trial for trial in some if trial.wrong]
    right = [trial for trial in some if trial.correct and trial.kind in RIGHT]
    titles = ('refused', 'alone', 'refused', 'alone', 'right 50 %', '99 %', 'wrong 1 %', '50 %')
    print(f'\n{"check":<24}{"wrong":>10}{"":>10}{"right":>10}\n' + ' ' * 24, end='')
    print(''.join(f'{title:>11}' for title in titles))
    for name in some[0].figures if some else ():
        counts = []
        for part in (wrong, right):
            counts += [sum(name in t.failed for t in part), sum(t.failed == (name,) for t in part)]
        quantiles = [
            *np.quantile(
                [t.figures[name] for t in right if name in t.figures] or [math.nan],
                (0.5, 0.99),
                method='nearest',
            ),
            *np.quantile(
                [t.figures[name] for t in wrong if name in t.figures] or [math.nan],
                (0.01, 0.5),
                method='nearest',
            ),
        ]
        numbers = ''.join(f'{count:>11}' for count in counts)
        print(f'{name:<24}{numbers}' + ''.join(f'{value:>11.3g}' for value in quantiles))


def _print_splits(trials: Sequence[GateTrial]) -> None:
    print('\nlimits and scale of the bound from two CTs, tested on the third:')
    for split in splits(claimed(trials)):
        _print_split(split)


def _print_split(split: Split) -> None:
    wrong = [trial for trial in split.tested if trial.wrong]
    right = [trial for trial in split.tested if trial.correct and trial.kind in RIGHT]
    bounded = [t for t in split.tested if t.kind in RIGHT and not t.wrong and t.estimate_mm > 0]
    print(f'{split.name}: scale {split.scale:.2f}')
    print('  wrong poses VERIFIED        ', share_of(wrong, split.verifies))
    print('  correct poses VERIFIED      ', share_of(right, split.verifies))
    print('  errors within bound         ', share_of(bounded, split.covers))


def _print_costs(trials: Sequence[GateTrial]) -> None:
    found = [trial for trial in trials if trial.kind == 'found']
    if found:
        gate, whole = (np.median([f(t) for t in found]) for f in (_seconds, _registration))
        print(f'\nmedian time: gate {gate:.2f} s, registration with it {whole:.2f} s')


def _verified(trial: GateTrial) -> bool:
    return trial.verified


def _estimate(trial: GateTrial) -> float:
    return trial.estimate_mm


def _error(trial: GateTrial) -> float:
    return trial.error_mm


def _seconds(trial: GateTrial) -> float:
    return trial.seconds


def _registration(trial: GateTrial) -> float:
    return trial.registration_s


def _rank_correlation(first: list[float], second: list[float]) -> float:
    ranks = [np.argsort(np.argsort(values)) for values in (first, second)]
    return float(np.corrcoef(ranks)[0, 1])
