"""The few lines that `sph-reg register` prints."""

from pathlib import Path

import torch

from sph_reg_ros.cli.outcome import Outcome
from sph_reg_ros.geometry.carm import angles_from_camera_from_ct, format_angles


def summary_lines(outcome: Outcome, files: tuple[Path, ...]) -> list[str]:
    """Return verdict, method, figures, checks, warnings and the files that were written."""
    result = outcome.result
    sigma = torch.diagonal(result.covariance).clamp(min=0).sqrt().tolist()
    x_mm, y_mm, z_mm = sigma[3:]
    angles = format_angles(*angles_from_camera_from_ct(result.camera_from_ct[0]))
    networks = outcome.networks_name
    method = f'{result.method}, networks {networks}' if networks else result.method
    return [
        f'{result.verdict.name}  ({result.termination.name}, {result.iterations} iterations, '
        f'{sum(result.timings_s.values()):.1f} s, {result.backend})',
        f'method       {method}',
        f'similarity   {result.similarity_before:.3f} -> {result.similarity_after:.3f}',
        f'view         {angles} (beam relative to the patient)',
        f'sigma        {x_mm:.2f} {y_mm:.2f} mm across the beam, {z_mm:.2f} mm along it',
        *(
            f'check        {check.name}: {check.value:.4g}, limit {check.limit:.4g}, '
            f'{"passed" if check.passed else "FAILED"}'
            for check in result.checks
        ),
        *(f'warning      {text}' for text in (*outcome.xray_warnings, *result.warnings)),
        *(f'wrote        {path}' for path in files),
    ]
