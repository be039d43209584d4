"""What a registration from files leaves behind: registration.json and overlay.png."""

import io
import json
import math
import os
import platform
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from sph_reg_ros import __version__
from sph_reg_ros.evaluation.overlay import overlay
from sph_reg_ros.imaging.ct import CT
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.result import RegistrationResult
from sph_reg_ros.rendering.render import render

CONVENTIONS = {
    'camera_from_ct': 'maps CT coordinates to camera coordinates, column vectors, 4 x 4, mm',
    'ct_frame': 'DICOM patient coordinates of the CT series (LPS), mm',
    'camera_frame': 'x along image columns, y along image rows, z from the source to the detector; '
    'origin at the X-ray source, mm',
    'K': 'camera coordinates to pixels (column, row, 1) up to scale; pixel centres at integers',
    'covariance': 'of (omega in rad, v in mm), a twist on the left of camera_from_ct in camera '
    'axes about centre_lps_mm',
}


@dataclass(frozen=True)
class Outcome:
    """A registration with what is needed to write it down."""

    request: RegistrationRequest
    result: RegistrationResult
    ct: CT
    energy_kev: float
    xray_warnings: tuple[str, ...] = ()

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write registration.json and overlay.png, readable by the owner only; raises OSError."""
        contents = {
            folder / 'registration.json': self.json_text().encode(),
            folder / 'overlay.png': self.overlay_png(),
        }
        folder.mkdir(parents=True, exist_ok=True)
        write_together(contents)
        result, picture = contents
        return result, picture

    def json_text(self) -> str:
        """Return the result as JSON; figures that are no numbers become null."""
        result, view = self.result, self.request.views[0]
        content = {
            'notice': 'Research use only, not a medical device.',
            'conventions': CONVENTIONS,
            'camera_from_ct': result.camera_from_ct[0].tolist(),
            'initial_camera_from_ct': self.request.initial_camera_from_ct.tolist(),
            'camera': {'K': view.camera.K.tolist(), 'size_rows_columns': view.camera.size},
            'verdict': result.verdict.name,
            'termination': result.termination.name,
            'checks': [vars(check) for check in result.checks],
            'similarity': {'before': result.similarity_before, 'after': result.similarity_after},
            'covariance': result.covariance.tolist(),
            'centre_lps_mm': result.centre_lps_mm.tolist(),
            'iterations': result.iterations,
            'timings_s': result.timings_s,
            'warnings': [*self.xray_warnings, *result.warnings],
            'backend': result.backend,
            'ct': self._ct_content(),
            'versions': versions(),
        }
        return json.dumps(_without_nan(content), indent=2, allow_nan=False) + '\n'

    def overlay_png(self) -> bytes:
        """Return the X-ray with the edges of the CT at the final pose, as PNG."""
        view = self.request.views[0]
        pose = self.result.camera_from_ct[0]
        drr = render(self.request.volume, pose, view.camera.K, view.camera.size)
        picture = overlay(view.line_integrals.numpy(), drr.numpy())
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, format='PNG')
        return buffer.getvalue()

    def _ct_content(self) -> dict[str, Any]:
        return {
            'series_uid_hash': self.ct.series_uid_hash,
            'size_columns_rows_slices': self.ct.hounsfield.shape[::-1],
            'spacing_mm': self.ct.spacing_mm,
            'orientation': self.ct.orientation,
            'energy_kev': self.energy_kev,
        }


def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    return {
        'sph_reg_ros': __version__,
        'python': platform.python_version(),
        'torch': str(torch.__version__),
        'numpy': np.__version__,
    }


def write_together(contents: dict[Path, bytes]) -> None:
    """Write all files or none: under other names first, so that none is ever half-written."""
    written: dict[Path, str] = {}
    try:
        for path, content in contents.items():
            handle, written[path] = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name}.')
            with os.fdopen(handle, 'wb') as file:
                file.write(content)
        for path in contents:
            os.replace(written[path], path)
            del written[path]
    finally:
        for leftover in written.values():
            Path(leftover).unlink(missing_ok=True)


def _without_nan(value: Any) -> Any:
    """Return nested containers with null for NaN and infinity, which JSON has no word for."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
