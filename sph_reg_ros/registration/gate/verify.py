"""May this pose be used? All checks, one verdict, one bound on the error.

The checks look at different things, so that a wrong pose has to deceive all of them to pass.
"""

from collections.abc import Sequence

from sph_reg_ros.registration.gate.bound import bound_of, check_bound, estimated_error
from sph_reg_ros.registration.gate.each_view import check_views, own_steps
from sph_reg_ros.registration.gate.evidence import Evidence
from sph_reg_ros.registration.gate.intrinsics import check_intrinsics
from sph_reg_ros.registration.gate.mirror import check_mirror
from sph_reg_ros.registration.gate.moved_parts import check_moved, moved_parts
from sph_reg_ros.registration.gate.patches import (
    check_displacement,
    check_share,
    compare_patches,
)
from sph_reg_ros.registration.gate.pixel_grid import check_pixel_grid, fit_pixel_grid
from sph_reg_ros.registration.gate.plausibility import (
    check_camera,
    check_overlap,
    check_prior,
)
from sph_reg_ros.registration.gate.reproducibility import (
    check_held_out,
    check_remaining_step,
    check_starts,
    seek_again,
)
from sph_reg_ros.registration.gate.rival_poses import best_rival, check_rival
from sph_reg_ros.registration.gate.solver import (
    check_convergence,
    check_covariance,
    check_deviations,
)
from sph_reg_ros.registration.moved_part import MovedPart
from sph_reg_ros.registration.result import Check, Verdict, Verification

NOT_VERIFIED = Verification(Verdict.UNVERIFIED, ())
"""Of a pose that nobody has looked at yet."""


def verify(evidence: Evidence, moved: tuple[MovedPart, ...] | None = None) -> Verification:
    """Judge a pose by every check.

    Args:
        evidence: of it.
        moved: what has moved by itself, where that is known already.
    """
    moved = moved_parts(evidence) if moved is None else moved
    agreement, again = compare_patches(evidence), seek_again(evidence)
    steps, grid = own_steps(evidence), fit_pixel_grid(evidence)
    error, what = estimated_error(evidence, again, steps, grid), evidence.config.verdict_for
    prior, views, bound = check_prior(evidence), check_views(steps, what), bound_of(error)
    checks = [
        check_convergence(evidence),
        check_covariance(evidence),
        *check_deviations(evidence.errors.by(evidence.covariance), what),
        check_remaining_step(evidence),
        *([] if views is None else [views]),
        *([] if prior is None else [prior]),
        check_camera(evidence),
        check_overlap(evidence),
        # Of a target that is named, only its own motion counts (`registration.target_gate`).
        *(() if evidence.target_points is not None else [check_moved(moved)]),
        check_displacement(agreement),
        check_share(agreement),
        *check_intrinsics(evidence),
        *check_pixel_grid(grid, evidence.config.imager_trust),
        check_held_out(again, what),
        check_starts(again, what),
        check_rival(best_rival(evidence)),
        check_mirror(evidence),
        *check_bound(bound, evidence.config),
    ]
    along = tuple(evidence.errors.along.tolist())
    return Verification(verdict_of(checks), tuple(checks), error, bound, along, what, moved)


def verdict_of(checks: Sequence[Check]) -> Verdict:
    """Return REJECTED if a check rejects, else UNVERIFIED if one doubts or there is none."""
    verdicts = {check.verdict for check in checks}
    for verdict in (Verdict.REJECTED, Verdict.UNVERIFIED):
        if verdict in verdicts:
            return verdict
    return Verdict.VERIFIED if verdicts else Verdict.UNVERIFIED
