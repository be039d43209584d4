"""What `sph-reg selftest` finds, as text, JSON and pictures."""

import io
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from sph_reg_ros.cli.ct_file import read_ct
from sph_reg_ros.cli.progress import Report
from sph_reg_ros.errors import CTError, ErrorCode, ImageError, require_setting
from sph_reg_ros.evaluation.overlay import levelled, overlay
from sph_reg_ros.evaluation.versions import versions
from sph_reg_ros.files import without_nan, write_together
from sph_reg_ros.imaging.attenuation import AttenuationVolume, attenuation_from_hounsfield
from sph_reg_ros.imaging.load import load_localizers
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.result import Verdict
from sph_reg_ros.registration.self_test.self_test import (
    SelfTest,
    SelfTestRun,
    SelfTestSettings,
    self_test,
)
from sph_reg_ros.rendering.render import render

TRUTH = (
    "the truth is the scanner's own pose in the localizer's header: its distance along the beam is "
    'nominal, positions are good to about half a pixel'
)
MAX_TRIES = 1000
_ENLARGED, _EDGE_PX = 2, 4


@dataclass(frozen=True)
class SelfTestJob:
    """The arguments of `sph-reg selftest`."""

    folder: Path
    series_uid: str | None = None
    energy_kev: float = 70.0
    starts: SelfTestSettings = field(default_factory=SelfTestSettings)
    config: RegistrationConfig = field(default_factory=RegistrationConfig)


@dataclass(frozen=True)
class SelfTestReport:
    """The self-tests of a study.

    Attributes:
        job: what was asked.
        volume: the CT.
        tests: one a localizer.
        left_out: why other localizers could not be used, a sentence each.
    """

    job: SelfTestJob
    volume: AttenuationVolume
    tests: tuple[SelfTest, ...]
    left_out: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Return whether every localizer is VERIFIED."""
        return all(test.verdict == Verdict.VERIFIED for test in self.tests)

    def lines(self) -> list[str]:
        """Return the summary."""
        lines = [line for test in self.tests for line in _lines(test, self.job.starts)]
        warnings = [f'warning      {text}' for text in self.left_out]
        return [*lines, *warnings, f'truth        {TRUTH}']

    def file_lines(self, files: tuple[Path, ...]) -> list[str]:
        """Return a line for each file that was written."""
        return [f'wrote        {path}' for path in files]

    def json_text(self) -> str:
        """Return the result as JSON; figures that are no numbers become null."""
        content = {
            'notice': 'Research use only, not a medical device.',
            'passed': self.passed,
            'truth': TRUTH,
            'starts': asdict(self.job.starts),
            'localizers': list(map(_content, self.tests)),
            'left_out': list(self.left_out),
            'versions': versions(),
        }
        return json.dumps(without_nan(content), indent=2, allow_nan=False)

    def write(self, folder: Path) -> tuple[Path, ...]:
        """Write selftest.json and a picture of each localizer; raises OSError."""
        contents = {folder / 'selftest.json': (self.json_text() + '\n').encode()}
        for number, test in enumerate(self.tests, 1):
            suffix = '' if len(self.tests) == 1 else f'_{number}'
            buffer = io.BytesIO()
            Image.fromarray(picture(self.volume, test)).save(buffer, format='PNG')
            contents[folder / f'selftest{suffix}.png'] = buffer.getvalue()
        folder.mkdir(parents=True, exist_ok=True)
        write_together(contents)
        return tuple(contents)


def self_test_folder(job: SelfTestJob, report: Report = lambda state: None) -> SelfTestReport:
    """Read a study and try the registration on each of its localizers; raises RegistrationError."""
    require_setting(1 <= job.starts.starts <= MAX_TRIES, f'--tries must be 1 to {MAX_TRIES}')
    report('reading the localizers')
    try:
        localizers, left_out = load_localizers(job.folder, series_uid=job.series_uid)
    except CTError as error:
        raise CTError(error.code, f'{job.folder}: {error}') from None
    if not localizers:
        why = '; '.join(left_out) or 'give the folder of the whole study'
        raise ImageError(
            ErrorCode.IMAGE_MISSING, f'{job.folder}: there is no localizer beside the CT: {why}'
        )
    report('reading the CT')
    volume = attenuation_from_hounsfield(read_ct(job.folder, job.series_uid), job.energy_kev)
    tests = tuple(
        self_test(volume, localizer, job.starts, job.config, report) for localizer in localizers
    )
    return SelfTestReport(job, volume, tests, left_out)


def picture(volume: AttenuationVolume, test: SelfTest) -> UInt8[np.ndarray, 'H W 3']:
    """Return the localizer, the CT rendered at the pose that was found, and both, side by side."""
    camera, pose = test.compared.whole_camera, test.best.result.camera_from_ct[0]
    drr = render(volume, pose, camera.K, camera.size, scan_depth_mm=camera.scan_depth_mm)
    xray, drr_image = test.localizer.line_integrals.numpy(), drr.cpu().float().numpy()
    shown = drr_image > 0
    columns = slice(*_range(shown))
    xray = levelled(xray, shown & test.localizer.usable.numpy())
    panels = [overlay(xray, None), overlay(drr_image, None), overlay(xray, drr_image)]
    # The frame of the CT's ends is no edge of the body.
    border = ~_inside(shown)
    panels[2][border] = panels[0][border]
    row = np.concatenate([panel[:, columns] for panel in panels], axis=1)
    return row.repeat(_ENLARGED, axis=0).repeat(_ENLARGED, axis=1)


def _inside(shown: Bool[np.ndarray, 'H W']) -> Bool[np.ndarray, 'H W']:
    """Return the pixels that lie farther from the border than edges are wide."""
    moved = [np.roll(shown, by, axis) for axis in (0, 1) for by in (-_EDGE_PX, _EDGE_PX)]
    return np.logical_and.reduce([shown, *moved])


def _range(shown: Bool[np.ndarray, 'H W']) -> tuple[int, int]:
    """Return the first column in which something shows and one past the last one."""
    columns = np.flatnonzero(shown.any(axis=0))
    return (int(columns[0]), int(columns[-1]) + 1) if len(columns) else (0, shown.shape[1])


def _lines(test: SelfTest, starts: SelfTestSettings) -> Iterator[str]:
    best = test.best
    yield f'{test.verdict.name}  {test.localizer.name}  ({test.seconds:.1f} s)'
    if test.reason:
        yield f'reason       {test.reason}'
    yield f'error        {best.error}'
    yield (
        f'found        by {test.share_found:.0%} of {len(test.runs)} starts, each turned by '
        f'{starts.rotation_deg:g} degrees and shifted by {starts.shift_mm:g} mm'
    )
    mirrored = test.mirrored_gain
    versus = '' if mirrored is None else f', that of the mirrored CT is {mirrored:.3f} less'
    yield f'similarity   {best.result.similarity_after:.3f}{versus}'
    bound = best.result.verification.bound
    yield (
        f'bound        {bound.across_mm:.1f} mm across the beam in 95 % of cases, '
        f'{bound.along_mm:.1f} mm along it'
    )
    more = 'more' if test.rows_apart > 1 else 'less'
    yield f'rows         {abs(test.rows_apart - 1):.1%} {more} apart than the header says'
    for note in test.localizer.notes:
        yield f'header       {note}'


def _content(test: SelfTest) -> dict[str, Any]:
    return {
        'localizer': test.localizer.name,
        'verdict': test.verdict.name,
        'reason': test.reason or None,
        'error': asdict(test.best.error),
        'share_found': test.share_found,
        'similarity': test.best.result.similarity_after,
        'rows_apart': test.rows_apart,
        'mirrored_gain': test.mirrored_gain,
        'runs': list(map(_run_content, test.runs)),
        'notes': list(test.localizer.notes),
        'seconds': test.seconds,
    }


def _run_content(run: SelfTestRun) -> dict[str, Any]:
    result = run.result
    return {
        'verdict': run.verdict.name,
        'error': asdict(run.error),
        'similarity': result.similarity_after,
        'tre_p95_across_mm': result.verification.bound.across_mm,
        'tre_p95_along_mm': result.verification.bound.along_mm,
        'failed_checks': [check.name for check in result.checks if not check.passed],
    }
