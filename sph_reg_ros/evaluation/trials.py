"""Results of benchmark cases, alone and summarised."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.evaluation.cases import BenchCT, Case
from sph_reg_ros.evaluation.metrics import (
    PoseError,
    mean_reprojection_distance_mm,
    pose_error,
)
from sph_reg_ros.evaluation.viewpoints import BENCH_GEOMETRY
from sph_reg_ros.geometry.geodesics import double_geodesic_mm
from sph_reg_ros.registration.result import Verdict

SUCCESS_MM, COARSE_SUCCESS_MM = 2.0, 10.0


@dataclass(frozen=True)
class MethodResult:
    """Pose, time and remarks of one method on one case.

    Attributes:
        camera_from_ct: found pose (mm); the initial one if the method refused.
        seconds: wall-clock time.
        iterations: of its solver.
        remark: '' if it ended by itself; else why not, 'refused: ...' if it gave no pose.
        verdict: of the method on its own result, '' if it has none.
    """

    camera_from_ct: Float64[Tensor, '4 4']
    seconds: float
    iterations: int
    remark: str = ''
    verdict: str = ''

    @property
    def refused(self) -> bool:
        """Return whether the method returned no pose."""
        return self.remark.startswith('refused')


@dataclass(frozen=True)
class Trial:
    """The errors of a method on one case.

    Attributes:
        number: of the case.
        disturbances: of its X-ray, in alphabetical order.
        start_mm: mean target registration error of the initial pose.
        error: of the found pose.
        mrpe_mm: reprojection distance, see `metrics.mean_reprojection_distance_mm`.
        dgeo_mm: double geodesic distance, see `geodesics.double_geodesic_mm`.
        outcome: what the method returned.
    """

    number: int
    disturbances: tuple[str, ...]
    start_mm: float
    error: PoseError
    mrpe_mm: float
    dgeo_mm: float
    outcome: MethodResult

    def within(self, limit_mm: float) -> bool:
        """Return whether a pose was found whose error is below a limit."""
        return not self.outcome.refused and self.error.mtre_mm < limit_mm

    @property
    def verified(self) -> bool:
        """Return whether the method verified its pose."""
        return self.outcome.verdict == Verdict.VERIFIED.name


def judge(case: Case, bench_ct: BenchCT, outcome: MethodResult) -> Trial:
    """Measure a found pose against the true one."""
    found, landmarks = outcome.camera_from_ct, bench_ct.landmarks_mm
    sdd_mm = BENCH_GEOMETRY.sdd_mm
    pitch_mm = sdd_mm / case.camera.focal_length
    start, end = (
        pose_error(pose, case.truth, landmarks, case.camera, pitch_mm)
        for pose in (case.start.camera_from_ct, found)
    )
    return Trial(
        case.number,
        tuple(sorted(case.disturbances.names)),
        start.mtre_mm,
        end,
        mean_reprojection_distance_mm(found, case.truth, landmarks, sdd_mm),
        float(double_geodesic_mm(found, case.truth, sdd_mm)),
        outcome,
    )


@dataclass(frozen=True)
class Summary:
    """Figures of many trials; errors in mm are medians unless a name says otherwise.

    Attributes:
        cases: number of trials.
        success_share: of trials that end below SUCCESS_MM.
        coarse_success_share: below COARSE_SUCCESS_MM.
        mtre_mm: median, 75 % and 95 % quantile of the mean target registration error.
        in_plane_mm: part of it perpendicular to the true optical axis.
        depth_mm: part of it along that axis.
        mpd_mm: projection distance on the detector.
        mrpe_mm: reprojection distance.
        dgeo_mm: double geodesic distance.
        rotation_deg: rotation error.
        seconds: median and 95 % quantile of the time.
        iterations: median.
        unfinished: trials with a remark: refused, or stopped by the time limit.
        verified_share: of the successes, those that the method vouched for.
        wrongly_verified: other trials that it vouched for.
    """

    cases: int
    success_share: float
    coarse_success_share: float
    mtre_mm: tuple[float, float, float]
    in_plane_mm: float
    depth_mm: float
    mpd_mm: float
    mrpe_mm: float
    dgeo_mm: float
    rotation_deg: float
    seconds: tuple[float, float]
    iterations: float
    unfinished: int
    verified_share: float
    wrongly_verified: int


def summarise(trials: Sequence[Trial]) -> Summary:
    """Return the figures of at least one trial; a refusal counts with the error of its start."""

    def quantiles(value: Callable[[Trial], float], *shares: float) -> tuple[float, ...]:
        values = [value(trial) for trial in trials]
        return tuple(float(q) for q in np.quantile(values, shares))

    median, third_quarter, most = quantiles(lambda t: t.error.mtre_mm, 0.5, 0.75, 0.95)
    right = [t for t in trials if t.within(SUCCESS_MM)]
    wrong = [t for t in trials if not t.within(SUCCESS_MM)]
    usual_s, longest_s = quantiles(lambda t: t.outcome.seconds, 0.5, 0.95)
    return Summary(
        cases=len(trials),
        success_share=float(np.mean([t.within(SUCCESS_MM) for t in trials])),
        coarse_success_share=float(np.mean([t.within(COARSE_SUCCESS_MM) for t in trials])),
        mtre_mm=(median, third_quarter, most),
        in_plane_mm=quantiles(lambda t: t.error.in_plane_mm, 0.5)[0],
        depth_mm=quantiles(lambda t: t.error.depth_mm, 0.5)[0],
        mpd_mm=quantiles(lambda t: t.error.mpd_mm, 0.5)[0],
        mrpe_mm=quantiles(lambda t: t.mrpe_mm, 0.5)[0],
        dgeo_mm=quantiles(lambda t: t.dgeo_mm, 0.5)[0],
        rotation_deg=quantiles(lambda t: t.error.rotation_deg, 0.5)[0],
        seconds=(usual_s, longest_s),
        iterations=quantiles(lambda t: float(t.outcome.iterations), 0.5)[0],
        unfinished=sum(bool(t.outcome.remark) for t in trials),
        verified_share=sum(t.verified for t in right) / max(1, len(right)),
        wrongly_verified=sum(t.verified for t in wrong),
    )
