"""May the pose of one of several bodies be used? Its own checks, its own bound."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.errors import ErrorCode
from sph_reg_ros.geometry import se3
from sph_reg_ros.registration.bodies_fit import BodiesProblem, Poses, run_solver
from sph_reg_ros.registration.bodies_level import BodiesLevel
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.error_parts import ErrorParts
from sph_reg_ros.registration.gate.bound import bound_of, check_bound, error_from
from sph_reg_ros.registration.gate.patches import (
    PatchAgreement,
    agreement_of,
    check_displacement,
    check_share,
    displacements,
    mm_per_pixel,
    worst_of,
)
from sph_reg_ros.registration.gate.plausibility import check_distance
from sph_reg_ros.registration.gate.reproducibility import Again, check_held_out, check_starts
from sph_reg_ros.registration.gate.solver import check_deviations
from sph_reg_ros.registration.gate.target_errors import TargetErrors
from sph_reg_ros.registration.gate.verify import verdict_of
from sph_reg_ros.registration.gate_limits import FLOOR_MM
from sph_reg_ros.registration.level import COARSE_SIMILARITY
from sph_reg_ros.registration.outline_search import OutlineFit
from sph_reg_ros.registration.region import around_projection
from sph_reg_ros.registration.result import Check, Verdict, Verification
from sph_reg_ros.registration.view import in_each_camera
from sph_reg_ros.solvers import TerminationReason

MIDDLE_PX = 128
"""Height at which bodies are sought once more."""
AWAY_RAD, AWAY_MM = 0.05, 3.0
"""How far the other starts are turned and shifted, each body in its own direction."""
MIN_EXPLAINED = 0.65
"""Share of an opaque body's outline that has to be an edge of the X-ray, in every view."""
MIN_VISIBLE = 0.5
"""Share of an outline that has to be in the image, in every view."""
MIN_LEAD = 0.1
"""By how much more of the outline a pose has to explain than the second best one."""
PART_SIMILARITY = 'gradient_ncc'
MIN_PART_SIMILARITY = 0.54
"""Of gradients close around a part of no CT: 0.61 to 0.65 at right poses of a real radius, 0.48 at
a pose of the ulna that had slid along its shaft by centimetres, less at all other wrong ones."""
MIN_PART_LEAD = 0.02
"""By how much more similar a part of no CT has to be than at the second best pose."""
_SHOWN = 0.1
"""Share of a body's darkest line integral that shows it."""


@dataclass(frozen=True)
class PartEvidence:
    """What speaks for a part of no CT.

    Attributes:
        similarity: of gradients close around it, in the view where they say the worst.
        lead: by how much more similar it is than at the second best pose.
    """

    similarity: float
    lead: float


def part_similarity(problem: BodiesProblem, poses: Poses, number: int, margin_mm: float) -> float:
    """Return the similarity of gradients close around one body, in the view where it is least."""
    volume, pose = problem.volumes[number], poses[number]
    placed = zip(problem.views, in_each_camera(pose, problem.views), strict=True)
    views = tuple(around_projection(view, volume, T, margin_mm) for view, T in placed)
    alone = replace(problem, volumes=(volume,), views=views, links=())
    return min(alone.level(problem.heights()[-1], PART_SIMILARITY).scores(pose[None]))


@dataclass(frozen=True)
class SoughtAgain:
    """Where a similarity that was not optimised leads each body.

    Attributes:
        from_here: pose of each body, started where it was found.
        from_away: the same from a displaced start.
    """

    from_here: Poses
    from_away: Poses


def seek_bodies_again(problem: BodiesProblem, poses: Poses) -> SoughtAgain:
    """Seek all bodies with the similarity that was not optimised, and the rest with them."""
    name = COARSE_SIMILARITY
    if problem.config.similarity == name:
        name = 'gradient_ncc'
    level = problem.level(MIDDLE_PX, name).without_links()
    generator = torch.Generator().manual_seed(0)
    away = poses.clone()
    for number in problem.parts:
        unit = torch.randn(2, 3, dtype=torch.float64, generator=generator)
        turn, shift = unit / unit.norm(dim=1, keepdim=True)
        twist = torch.cat([turn * AWAY_RAD, shift * AWAY_MM])
        away[number] = se3.apply_twist(twist, poses[number], problem.volumes[number].centre)
    found = []
    for start in (poses, away):
        end = run_solver(
            problem, level, start, range(len(poses)), max_iterations=12, min_reduction=1e-5
        )
        found.append(end.poses[0])
    return SoughtAgain(*found)


def patches_of(level: BodiesLevel, poses: Poses, number: int) -> PatchAgreement:
    """Find by how much the X-rays lie off the rendering of all bodies, in patches that show one.

    In the view where they say the worst.
    """
    agreements = []
    for index, view in enumerate(level.views):
        own = level.image_of(poses, index, number)
        shows = own > _SHOWN * own.max()
        mask = shows if view.mask is None else shows & view.mask
        xray, image = view.line_integrals, level.image(poses, index)
        there = level.camera_from_first[index] @ poses[number]
        scale = mm_per_pixel(there, level.volumes[number].centre, view.camera)
        agreements.append(agreement_of(*displacements(xray, image, mask), scale))
    return worst_of(agreements)


def judge_body(
    errors: TargetErrors,
    covariance: Float64[Tensor, '6 6'],
    termination: TerminationReason,
    again: Again,
    evidence: PatchAgreement | PartEvidence,
    prior_distance: float | None,
    imager: ErrorParts,
    config: RegistrationConfig,
) -> Verification:
    """Judge the pose of a body that was found by its line integrals.

    Args:
        errors: at the body's targets.
        covariance: of the pose.
        termination: why the solver stopped.
        again: how far a similarity that was not optimised leads away.
        evidence: agreement of the patches that show it; or that of a part of no CT, beside which
            X-rays show what nothing explains.
        prior_distance: squared Mahalanobis distance of its motion; None if nothing is known of it.
        imager: what the calibration of the imager leaves open.
        config: what can be borne.
    """
    deviation, what = errors.by(covariance), config.verdict_for
    estimate = error_from(deviation, (again.from_here, *again.from_away), imager)
    converged = termination != TerminationReason.FAILED
    doubt = Verdict.UNVERIFIED, ErrorCode.NOT_CONVERGED
    checks = [
        Check.at_least('convergence', float(converged), 1.0, doubt),
        *check_deviations(deviation, what),
        *_of_evidence(evidence),
        check_held_out(again, what),
        check_starts(again, what),
        *_prior(prior_distance),
    ]
    return _verification(checks, estimate, errors, config)


def judge_outline(
    fit: OutlineFit,
    errors: TargetErrors,
    prior_distance: float | None,
    imager: ErrorParts,
    config: RegistrationConfig,
) -> Verification:
    """Judge the pose of an opaque body that was found by its outline.

    Args:
        fit: where it was found.
        errors: at the body's targets.
        prior_distance: as in `judge_body`.
        imager: what the calibration of the imager leaves open.
        config: what can be borne.
    """
    deviation = errors.by(fit.evidence.covariance)
    floor = ErrorParts.all_of(FLOOR_MM)
    estimate = ErrorParts.together((deviation, floor, imager))
    against = (Verdict.REJECTED, ErrorCode.SIMILARITY_TOO_LOW)
    little = (Verdict.UNVERIFIED, ErrorCode.LITTLE_OVERLAP)
    rival = (Verdict.UNVERIFIED, ErrorCode.RIVAL_POSE)
    lead = fit.explained - fit.rival_explained
    checks = [
        Check.at_least('outline_explained', min(fit.evidence.explained), MIN_EXPLAINED, against),
        Check.at_least('outline_visible', min(fit.evidence.visible), MIN_VISIBLE, little),
        Check.at_least('outline_lead', lead, MIN_LEAD, rival),
        *check_deviations(deviation, config.verdict_for),
        *_prior(prior_distance),
    ]
    return _verification(checks, estimate, errors, config)


def _of_evidence(evidence: PatchAgreement | PartEvidence) -> list[Check]:
    if isinstance(evidence, PatchAgreement):
        return [check_displacement(evidence), check_share(evidence)]
    rival = (Verdict.UNVERIFIED, ErrorCode.RIVAL_POSE)
    against = (Verdict.UNVERIFIED, ErrorCode.SIMILARITY_TOO_LOW)
    return [
        Check.at_least('part_similarity', evidence.similarity, MIN_PART_SIMILARITY, against),
        Check.at_least('part_lead', evidence.lead, MIN_PART_LEAD, rival),
    ]


def _prior(distance: float | None) -> list[Check]:
    return [] if distance is None else [check_distance(distance)]


def _verification(
    checks: Sequence[Check], estimate: ErrorParts, errors: TargetErrors, config: RegistrationConfig
) -> Verification:
    bound = bound_of(estimate)
    checks = (*checks, *check_bound(bound, config))
    along = tuple(errors.along.tolist())
    return Verification(verdict_of(checks), checks, estimate, bound, along, config.verdict_for)
