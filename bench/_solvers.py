"""Levenberg-Marquardt against gradient descent: same encoder, same starts, same units."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from _learned import Learned
from _study import Study, counted
from _traces import OPTIMISERS, Trace, descent_trace, lm_trace

from sph_reg_ros.evaluation.cases import BenchCT, Case
from sph_reg_ros.evaluation.metrics import pose_error
from sph_reg_ros.evaluation.protocols import PROTOCOLS
from sph_reg_ros.evaluation.viewpoints import BENCH_GEOMETRY

LM, GOAL, ENCODER_LM = 'LM', 'SGD', 'LM, slopes of the encoder'
FIRST_RATES, FACTOR, EXTRA_RATES = (0.01, 0.03, 0.1), 3.0, 3
"""Learning rates to try: three, and further ones while the best is at either end."""
REACHED = 1.02
"""An error within 2 % of the goal has reached it: all solvers end at about the same optimum."""


@dataclass(frozen=True)
class Run:
    """One solver on all cases.

    Attributes:
        name: of the solver.
        rate: learning rate, None for LM.
        errors_mm: mTRE [cases, steps + 1]; a solver that has stopped keeps its pose.
        seconds: since the start, alike.
        lost: cases in which the CT left the image.
    """

    name: str
    rate: float | None
    errors_mm: np.ndarray
    seconds: np.ndarray
    lost: int

    @property
    def curve_mm(self) -> list[float]:
        """Return the median error after each step."""
        return np.median(self.errors_mm, axis=0).tolist()

    @property
    def clock_s(self) -> list[float]:
        """Return the median time after each step."""
        return np.median(self.seconds, axis=0).tolist()


def compare_solvers(study: Study, steps: int, tuning: int) -> list[dict[str, Any]]:
    """Race the solvers from near and far starts; print and return the figures."""
    learned, found = Learned(study.bench_ct, study.networks), []
    for protocol in PROTOCOLS.values():
        for condition in study.conditions:
            spare = study.cases(protocol, condition, study.spare_numbers(tuning))
            cases = study.cases(protocol, condition)
            _race(LM, learned, cases[:1], 1)  # compiles
            runs = [_race(LM, learned, cases, steps)]
            if learned.networks.pose_slopes:
                own = replace(learned, networks=replace(learned.networks, pose_slopes=False))
                runs.append(_race(ENCODER_LM, own, cases, steps))
            for name in OPTIMISERS:

                def final_mm(rate: float, name: str = name, spare: list[Case] = spare) -> float:
                    return _race(name, learned, spare, steps, rate).curve_mm[-1]

                rate, tried = tuned(final_mm, FIRST_RATES)
                print(f'{name}: final mTRE by rate on other cases: {_listed(tried)}')
                runs.append(_race(name, learned, cases, steps, rate))
            found += _figures(runs, study, protocol.name, condition)
    return found


def tuned(loss: Callable[[float], float], rates: Sequence[float]) -> tuple[float, dict]:
    """Return the best learning rate, and the loss of each that was tried."""
    tried = {rate: loss(rate) for rate in rates}
    for _ in range(EXTRA_RATES):
        best, low, high = min(tried, key=lambda rate: tried[rate]), min(tried), max(tried)
        if low < best < high:
            break
        further = low / FACTOR if best == low else high * FACTOR
        tried[further] = loss(further)
    return min(tried, key=lambda rate: tried[rate]), dict(sorted(tried.items()))


def first_reached(curve_mm: Sequence[float], goal_mm: float) -> int | None:
    """Return the first step after which the error is at the goal, None if it never is."""
    return next((step for step, mm in enumerate(curve_mm) if mm <= goal_mm), None)


def padded(values: Sequence[float], length: int) -> list[float]:
    """Return a list of that length whose last value is repeated, or which is cut."""
    return [*values, *[values[-1]] * (length - len(values))][:length]


def _race(
    name: str, learned: Learned, cases: Sequence[Case], steps: int, rate: float | None = None
) -> Run:
    traces = []
    for case in counted(cases, name if rate is None else f'{name}, rate {rate:g}', len(cases)):
        start = case.start.camera_from_ct
        level = learned.level(case, start)
        if rate is None:
            traces.append(lm_trace(level, start))
        else:
            traces.append(descent_trace(name, level, start, rate, steps))
    errors = [_errors_mm(*pair, learned.bench_ct) for pair in zip(cases, traces, strict=True)]
    return Run(
        name,
        rate,
        np.array([padded(values, steps + 1) for values in errors]),
        np.array([padded(trace.seconds, steps + 1) for trace in traces]),
        sum(bool(trace.remark) for trace in traces),
    )


def _errors_mm(case: Case, trace: Trace, bench_ct: BenchCT) -> list[float]:
    landmarks, pitch_mm = bench_ct.landmarks_mm, BENCH_GEOMETRY.pixel_pitch_mm
    return [
        pose_error(pose, case.truth, landmarks, case.camera, pitch_mm).mtre_mm
        for pose in trace.poses
    ]


def _figures(runs: list[Run], study: Study, protocol: str, condition: str) -> list[dict[str, Any]]:
    goal_mm = REACHED * next(run for run in runs if run.name == GOAL).curve_mm[-1]
    print(f'\n{study.name}, {protocol}, {condition}: until mTRE {goal_mm:.2f} mm')
    print(f'{"solver":<28}{"rate":>8}{"steps":>8}{"s":>8}{"final mm":>10}{"lost":>6}')
    found = []
    for run in runs:
        step = first_reached(run.curve_mm, goal_mm)
        seconds = None if step is None else run.clock_s[step]
        words = ('' if run.rate is None else f'{run.rate:g}', _number(step), _number(seconds, 2))
        rate, steps_text, seconds_text = words
        final = f'{run.curve_mm[-1]:.2f}'
        print(f'{run.name:<28}{rate:>8}{steps_text:>8}{seconds_text:>8}{final:>10}{run.lost:>6}')
        found.append(
            {
                'protocol': protocol,
                'condition': condition,
                'solver': run.name,
                'rate': run.rate,
                'goal_mm': goal_mm,
                'steps': step,
                'seconds': seconds,
                'lost': run.lost,
                'cases': len(run.errors_mm),
                'curve_mm': run.curve_mm,
                'clock_s': run.clock_s,
                'finals_mm': run.errors_mm[:, -1].tolist(),
            }
        )
    return found


def _number(value: float | None, digits: int = 0) -> str:
    return 'never' if value is None else f'{value:.{digits}f}'


def _listed(tried: dict[float, float]) -> str:
    return ', '.join(f'{rate:.3g}: {loss:.2f} mm' for rate, loss in tried.items())
