"""The wrong pose that came nearest to deceive the gate: X-ray, wrong edges on it, right ones."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from _gate_trials import GateTrial
from PIL import Image

from sph_reg_ros.evaluation.cases import BenchCT, Case
from sph_reg_ros.evaluation.overlay import levelled, overlay
from sph_reg_ros.rendering.render import render

SHOWN = ('level', 'elsewhere', 'misled')
"""Kinds of which a picture says more than the number of millimetres."""
SIDE_PX = 384


def nearest_miss(trials: Sequence[GateTrial]) -> GateTrial | None:
    """Return the wrong pose that the fewest checks refused, the farthest off of these."""
    some = [t for t in trials if t.kind in SHOWN and t.settled and t.wrong and t.figures and t.pose]
    return min(some, key=lambda trial: (len(trial.failed), -trial.error_mm), default=None)


def draw(trial: GateTrial, bench_ct: BenchCT, case: Case, file: Path) -> None:
    """Write a PNG: the X-ray alone, with the rendering's edges at the wrong pose, at the right one.

    The caption is printed.
    """
    wrong = torch.tensor(trial.pose, dtype=torch.float64).reshape(4, 4)
    camera = case.view.camera
    mask = None if case.view.mask is None else case.view.mask.numpy()
    xray = levelled(case.view.line_integrals.numpy(), mask)
    parts = [overlay(xray, None)]
    for pose in (wrong, case.truth):
        image = render(bench_ct.volume, pose, camera.K, camera.size).cpu().numpy()
        parts.append(overlay(xray, image))
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.hstack(parts)).resize((3 * SIDE_PX, SIDE_PX)).save(file)
    print(
        f'{file}: {trial.ct}, field {trial.field_mm:g} mm, {trial.condition}, {trial.kind}: '
        f'{trial.error_mm:.1f} mm wrong, refused by {", ".join(trial.failed) or "nothing"}'
    )
