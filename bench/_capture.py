"""From how far each method finds the pose: success against the error of the start."""

import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from _learned import Learned
from _study import Study
from _table import Row
from torch import Tensor

from sph_reg_ros.errors import ErrorCode, PoseError
from sph_reg_ros.evaluation.cases import BenchCT, Case
from sph_reg_ros.evaluation.metrics import pose_error
from sph_reg_ros.evaluation.protocols import FAR, Start, any_in_view, perturbed
from sph_reg_ros.evaluation.trials import COARSE_SUCCESS_MM, SUCCESS_MM
from sph_reg_ros.evaluation.viewpoints import BENCH_GEOMETRY

FARTHEST_MM, BIN_MM = 150.0, 5.0
_GOLDEN = (math.sqrt(5) - 1) / 2
_MOST_DRAWS, _HALVINGS = 100, 40


def capture_ranges(study: Study, starts: int) -> list[dict[str, Any]]:
    """Register from starts of every distance; print and return shares of success by distance.

    Args:
        study: CT, networks and cases.
        starts: of each X-ray.
    """
    learned, found = Learned(study.bench_ct, study.networks), []
    for condition in study.conditions:
        made = study.cases(FAR, condition)
        cases = [case for case in made for case in spread(case, study.bench_ct, starts)]
        methods = learned.of_starts_alone(FAR)
        rows = list(study.rows('starts up to 150 mm', condition, methods, cases))
        found += [_figures(row) for row in rows]
        _print_bins(found[-len(rows) :])
    return found


def spread(case: Case, bench_ct: BenchCT, starts: int) -> Iterator[Case]:
    """Yield a case with starts whose errors, over all cases, lie evenly in [0, FARTHEST_MM]."""
    for index in range(starts):
        number = case.number * starts + index
        goal_mm = FARTHEST_MM * share_of(number)
        yield replace(case, start=start_at(case, bench_ct, goal_mm, number))


def share_of(number: int) -> float:
    """Return a number in [0, 1); those of 0, 1, ... fill it evenly however many there are."""
    return (0.5 + number * _GOLDEN) % 1.0


def start_at(case: Case, bench_ct: BenchCT, goal_mm: float, number: int) -> Start:
    """Return a far start, scaled to an mTRE of `goal_mm`, from which something is in view.

    Raises:
        PoseError: there is none.
    """
    generator = np.random.default_rng([number, zlib.crc32(b'capture')])
    centre_mm = bench_ct.volume.centre
    for redrawn in range(_MOST_DRAWS):
        twist = FAR.twist(generator)
        pose = perturbed(case.truth, _scale(case, bench_ct, twist, goal_mm) * twist, centre_mm)
        if any_in_view(bench_ct.body_mm, pose, case.camera):
            return Start(pose, redrawn)
    raise PoseError(ErrorCode.POSE_INVALID, f'no start at {goal_mm:.0f} mm sees anything of the CT')


def _scale(case: Case, bench_ct: BenchCT, twist: Tensor, goal_mm: float) -> float:
    """Return the factor of a twist that moves the landmarks by a mean distance."""
    landmarks, pitch_mm = bench_ct.landmarks_mm, BENCH_GEOMETRY.pixel_pitch_mm

    def error_mm(factor: float) -> float:
        pose = perturbed(case.truth, factor * twist, bench_ct.volume.centre)
        return pose_error(pose, case.truth, landmarks, case.camera, pitch_mm).mtre_mm

    low, high = 0.0, 1.0
    while error_mm(high) < goal_mm:
        low, high = high, 2 * high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if error_mm(middle) < goal_mm else (low, middle)
    return high


def shares(
    starts_mm: Sequence[float], successes: Sequence[bool], width_mm: float = BIN_MM
) -> list[tuple[float, int, float | None]]:
    """Return (lower edge, count, share of successes) of each bin; None where it is empty."""
    bins = np.floor(np.asarray(starts_mm) / width_mm).astype(int)
    found: list[tuple[float, int, float | None]] = []
    for index in range(math.ceil(FARTHEST_MM / width_mm)):
        inside = np.asarray(successes)[bins == index]
        share = float(inside.mean()) if inside.size else None
        found.append((index * width_mm, int(inside.size), share))
    return found


def _figures(row: Row) -> dict[str, Any]:
    starts_mm = [trial.start_mm for trial in row.trials]
    fine, coarse = (
        shares(starts_mm, [trial.within(limit_mm) for trial in row.trials])
        for limit_mm in (SUCCESS_MM, COARSE_SUCCESS_MM)
    )
    bins = [
        {'from_mm': low, 'to_mm': low + BIN_MM, 'cases': count, '<2 mm': share, '<10 mm': rough}
        for (low, count, share), (_, _, rough) in zip(fine, coarse, strict=True)
    ]
    return {**row.figures(), 'bins': bins}


def _print_bins(found: list[dict[str, Any]]) -> None:
    """Print success below 2 mm and 10 mm of each method by the start's mTRE."""
    print('\nbelow 2 mm / below 10 mm by the mTRE of the start')
    print(f'{"mm":>10}{"starts":>8}' + ''.join(f'{entry["method"]:>20}' for entry in found))
    for bins in zip(*(entry['bins'] for entry in found), strict=True):
        first = bins[0]
        if first['cases']:
            edges = f'{first["from_mm"]:.0f}-{first["to_mm"]:.0f}'
            cells = [f'{100 * b["<2 mm"]:.0f} / {100 * b["<10 mm"]:.0f} %' for b in bins]
            print(f'{edges:>10}{first["cases"]:>8}' + ''.join(f'{cell:>20}' for cell in cells))
