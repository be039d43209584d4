"""What a benchmark of registrations prints, writes and draws."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sph_reg_ros.evaluation.cases import BenchCT, Case
from sph_reg_ros.evaluation.overlay import overlay
from sph_reg_ros.evaluation.trials import Trial, summarise
from sph_reg_ros.rendering.render import render

TITLES = (
    ('method', -28),
    ('cases', 6),
    ('<2 mm', 7),
    ('<10 mm', 8),
    ('mTRE 50 %', 11),
    ('75 %', 7),
    ('95 %', 7),
    ('in plane', 10),
    ('depth', 7),
    ('mPD', 7),
    ('dGeo', 7),
    ('deg', 6),
    ('s 50 %', 8),
    ('95 %', 7),
    ('iter.', 7),
    ('stopped', 9),
    ('passed', 8),
    ('wrong', 7),
)


@dataclass(frozen=True)
class Row:
    """Trials of one method on one CT under one protocol and condition."""

    ct: str
    protocol: str
    condition: str
    method: str
    cases: list[Case]
    trials: list[Trial]

    def figures(self) -> dict[str, Any]:
        """Return everything that was measured, for JSON."""
        return {
            'ct': self.ct,
            'protocol': self.protocol,
            'condition': self.condition,
            'method': self.method,
            'redrawn_starts': sum(case.start.redrawn for case in self.cases),
            'summary': asdict(summarise(self.trials)),
            'trials': [_trial_figures(trial) for trial in self.trials],
        }


def heading() -> str:
    """Return the titles of the columns; lengths are medians in mm unless they say otherwise.

    passed: of the poses within 2 mm, those that passed the gate; wrong: others that did.
    """
    return _aligned([title for title, _ in TITLES])


def line(row: Row) -> str:
    """Return one line of the table."""
    s = summarise(row.trials)
    shares = [f'{100 * share:.0f} %' for share in (s.success_share, s.coarse_success_share)]
    judges = any(trial.outcome.verdict for trial in row.trials)
    gate = (f'{100 * s.verified_share:.0f} %', str(s.wrongly_verified)) if judges else ('', '')
    lengths = [*s.mtre_mm, s.in_plane_mm, s.depth_mm, s.mpd_mm, s.dgeo_mm, s.rotation_deg]
    return _aligned(
        [
            row.method,
            str(s.cases),
            *shares,
            *(f'{length:.2f}' for length in lengths),
            *(f'{seconds:.2f}' for seconds in s.seconds),
            f'{s.iterations:.0f}',
            str(s.unfinished or ''),
            *gate,
        ]
    )


def write_worst(row: Row, bench_ct: BenchCT, folder: Path) -> None:
    """Write the X-ray of the worst case with the edges of the CT: start, found pose, truth."""
    worst = int(np.argmax([trial.error.mtre_mm for trial in row.trials]))
    case, trial = row.cases[worst], row.trials[worst]
    xray = case.view.line_integrals.numpy().copy()
    if case.view.mask is not None:
        xray[~case.view.mask.numpy()] = xray[case.view.mask.numpy()].min()
    poses = (case.start.camera_from_ct, trial.outcome.camera_from_ct, case.truth)
    pictures = [
        overlay(xray, render(bench_ct.volume, pose, case.camera.K, case.camera.size).numpy())
        for pose in poses
    ]
    words = (row.ct, row.protocol, row.condition, row.method, f'case{case.number}')
    name = '_'.join(words).replace('/', '-').replace(' ', '-').replace(',', '')
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(pictures, axis=1)).save(folder / f'{name}.png')


def _aligned(words: list[str]) -> str:
    columns = zip(words, TITLES, strict=True)
    return ''.join(f'{w:<{-n}}' if n < 0 else f'{w:>{n}}' for w, (_, n) in columns)


def _trial_figures(trial: Trial) -> dict[str, Any]:
    outcome = trial.outcome
    return {
        'case': trial.number,
        'disturbances': trial.disturbances,
        'start_mm': trial.start_mm,
        **asdict(trial.error),
        'mrpe_mm': trial.mrpe_mm,
        'dgeo_mm': trial.dgeo_mm,
        'seconds': outcome.seconds,
        'iterations': outcome.iterations,
        'remark': outcome.remark,
        'verdict': outcome.verdict,
        'camera_from_ct': outcome.camera_from_ct.tolist(),
    }
