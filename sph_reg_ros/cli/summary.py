"""The summary that `sph-reg register` prints."""

import math
from pathlib import Path

import torch

from sph_reg_ros.cli.registration_report import RegistrationReport
from sph_reg_ros.geometry.carm import angles_from_camera_from_ct, format_angles
from sph_reg_ros.registration.landmarks import tolerance_px
from sph_reg_ros.registration.moved_part import MovedPart
from sph_reg_ros.registration.reasons import failures
from sph_reg_ros.registration.result import BodyResult, RegistrationResult, Verification


def summary_lines(report: RegistrationReport, files: tuple[Path, ...]) -> list[str]:
    """Return verdict, reason and advice if it is bad, figures, what was assumed, and files."""
    result = report.result
    sigma = torch.diagonal(result.covariance).clamp(min=0).sqrt().tolist()
    x_mm, y_mm, z_mm = sigma[3:]
    angles = format_angles(*angles_from_camera_from_ct(result.camera_from_ct[0]))
    # Of the CT: they explain what goes wrong further on.
    doubts = report.request.volume.doubts
    others = [text for text in result.warnings if text not in doubts]
    networks = report.networks_name
    method = f'{result.method}, networks {networks}' if networks else result.method
    checks = failures(result.checks) + [check for check in result.checks if check.passed]
    return [
        f'{result.verdict.name}  ({result.termination.name}, {result.iterations} iterations, '
        f'{sum(result.timings_s.values()):.1f} s, {result.backend} on {result.device})',
        *_why(result),
        *(f'only         {text}' for text in result.reservations),
        *(f'warning      {text}' for text in doubts),
        f'method       {method}',
        f'start        {report.start.source or _found_by(report)}',
        *_landmark_lines(report),
        f'similarity   {result.similarity_before:.3f} -> {result.similarity_after:.3f}',
        f'view         {angles} (beam relative to the patient)',
        f'sigma        {x_mm:.2f} {y_mm:.2f} mm across the beam, {z_mm:.2f} mm along it',
        f'bound        {_bound_text(result.verification)}',
        *(
            f'check        {check.name}: {check.value:.4g}, limit {check.limit:.4g}, '
            f'{"passed" if check.passed else "FAILED"}'
            for check in checks
        ),
        *_target_lines(report),
        *([] if result.next_view is None else [f'next view    {result.next_view}']),
        *map(_moved_line, result.verification.moved),
        *(line for body in result.bodies for line in _body_lines(body, report.rest_position)),
        *(f'assumed      {text}' for text in report.assumptions),
        *(f'warning      {text}' for text in (*report.xray_warnings, *report.body_notes, *others)),
        *(f'wrote        {path}' for path in files),
    ]


def _bound_text(verification: Verification) -> str:
    """Return the bound on the error and its parts."""
    bound = verification.bound
    return (
        f'{bound.total_mm:.1f} mm in 95 % of cases, {bound.across_mm:.1f} mm across the beam, '
        f'{bound.along_mm:.1f} mm along it'
    )


def _found_by(report: RegistrationReport) -> str:
    return 'found by networks' if report.networks_name else 'found by a search of all directions'


def _body_lines(body: BodyResult, rest: str) -> list[str]:
    """Return what was found of a body, how far from its rest position, and what is wrong."""
    return [
        f'body         {body.name}: {body.verdict.name}, moved {body.translation_mm:.1f} mm and '
        f'{math.degrees(body.rotation_rad):.1f} deg against {rest}, within '
        f'{_bound_text(body.verification)}',
        *_why(body),
    ]


def _target_lines(report: RegistrationReport) -> list[str]:
    target = report.request.target
    return [] if target is None else [f'target       {target.name}: the verdict is about it alone']


def _moved_line(part: MovedPart) -> str:
    x, y, z = part.centre_lps_mm
    width, height = part.extent_mm
    right, down = part.shift_mm
    return (
        f'moved        in X-ray {part.view + 1}: {part.size_mm:.1f} mm ({right:+.1f} to the right, '
        f'{down:+.1f} down), a part of {width:.0f} x {height:.0f} mm about '
        f'({x:.0f}, {y:.0f}, {z:.0f}) mm (LPS)'
    )


def _why(result: RegistrationResult | BodyResult) -> list[str]:
    """Return why a pose may not be used and what to do about it; nothing if it may."""
    if result.finding is None:
        return []
    explanation = result.finding.explanation
    return [f'reason       {explanation.reason}', f'advice       {explanation.advice}']


def _landmark_lines(report: RegistrationReport) -> list[str]:
    """Return how well the landmarks fit the result; a doubt if they do not."""
    off_px = report.landmarks_px
    if off_px is None:
        return []
    camera = report.request.views[0].camera
    doubt = '' if off_px <= tolerance_px(camera) else ': they contradict it, check both'
    return [f'landmarks    {off_px:.1f} px off at the result{doubt}']
