"""Output files of a registration: registration.json, transforms and an overlay of each view."""

import io
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Float64
from PIL import Image
from torch import Tensor

from sph_reg_ros.cli.start import Start
from sph_reg_ros.evaluation.result_overlay import result_overlay
from sph_reg_ros.evaluation.versions import versions
from sph_reg_ros.files import without_nan, write_together
from sph_reg_ros.geometry import se3
from sph_reg_ros.geometry.itk_transform import itk_transform_text
from sph_reg_ros.imaging.ct.volume import orientation_letters
from sph_reg_ros.registration.reasons import Finding
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.result import (
    BodyResult,
    Check,
    RegistrationResult,
    Verdict,
    Verification,
)
from sph_reg_ros.registration.suggested_view import SuggestedView

CONVENTIONS = {
    'camera_from_ct': 'one for each view: maps CT coordinates to camera coordinates, column '
    'vectors, 4 x 4, mm',
    'fixed_from_ct': 'the same pose in the frame of fixed_from_camera; null without one',
    'ct_frame': 'DICOM patient coordinates of the CT series (LPS), mm',
    'camera_frame': 'x along image columns, y along image rows, z from the source to the detector; '
    'origin at the X-ray source, mm',
    'K': 'camera coordinates to pixels (column, row, 1) up to scale; pixel centres at integers',
    'covariance': 'of (omega in rad, v in mm), a twist on the left of camera_from_ct in the axes '
    'of the first camera about centre_lps_mm',
    'bodies': 'camera_from_body maps body coordinates (those of the CT, or of the mesh), '
    'moved_from_rest where a point of the body lay in the CT to where it is now, CT coordinates; '
    'covariance as above, about centre_mm in body coordinates',
    'along': 'direction that the bound is split by, a unit vector in the axes of the first camera: '
    'the beam through the targets, with several views the direction known worst',
    'moved': 'what has moved by itself since the CT, view from 0: box left, top, right, bottom as '
    'shares of width and height; lengths at the depth of the middle of the CT, shift along columns '
    'and rows; verdict and bound are about the target, null: the whole region',
    'next_view': 'X-ray that would shrink the bound most; angles as in DICOM, turned: against '
    'the first; null unless nothing but uncertainty speaks against the pose',
    'similarity': 'before and after: mean over the views, 1 is perfect',
    'initial_camera_from_ct': 'of the first view; null: networks or a search found the start',
}
TRANSFORMS = {
    'ct_to_imager': (
        "Apply it to the CT in 3D Slicer: it moves the CT into the imager's frame.",
        'As ITK reads it: from points of the imager to points of the CT (LPS), mm.',
    ),
    'imager_to_ct': (
        "Apply it to what is in the imager's frame in 3D Slicer: it moves it to the CT.",
        'As ITK reads it: from points of the CT (LPS) to points of the imager, mm.',
    ),
}
"""Files for 3D Slicer, and what is written into them."""
BODY_TRANSFORM = (
    "Apply it to this body's part of the CT, or its mesh, in 3D Slicer: it moves it into the "
    "imager's frame.",
    'As ITK reads it: from points of the imager to points of the body, mm.',
)
OUR_TRANSFORM = re.compile(
    rf'({"|".join(TRANSFORMS)}|body_.+_to_imager)(_\d+)?(_UNVERIFIED|_REJECTED)?\.tfm'
)


@dataclass(frozen=True)
class RegistrationReport:
    """A registration and what its output files need."""

    request: RegistrationRequest
    result: RegistrationResult
    series_uid_hash: str
    energy_kev: float
    xray_warnings: tuple[str, ...] = ()
    start: Start = Start(None, '')

    @property
    def landmarks_px(self) -> float | None:
        """Return how far landmarks are from their pixels at the result, RMS; None without any."""
        if self.start.landmarks is None:
            return None
        camera = self.request.views[0].camera
        errors_px = self.start.landmarks.errors_px(self.result.camera_from_ct[0], camera)
        return float((errors_px**2).mean() ** 0.5)

    @property
    def body_notes(self) -> tuple[str, ...]:
        """Return what was assumed or repaired of the bodies."""
        return () if self.request.bodies is None else self.request.bodies.notes

    @property
    def has_ct(self) -> bool:
        """Return whether there is a CT, and not meshes alone."""
        return self.request.bodies is None or self.request.bodies.rest is not None

    @property
    def rest_position(self) -> str:
        """Return what the motion of bodies is against."""
        return 'the CT' if self.has_ct else 'the initial pose'

    @property
    def all_verified(self) -> bool:
        """Return whether the pose and that of every body are VERIFIED."""
        verdicts = (self.result.verdict, *(body.verdict for body in self.result.bodies))
        return all(verdict == Verdict.VERIFIED for verdict in verdicts)

    @property
    def assumptions(self) -> tuple[str, ...]:
        """Return what had to be assumed for lack of information."""
        return self.start.assumptions

    @property
    def fixed_from_ct(self) -> Float64[Tensor, '4 4'] | None:
        """Return the pose in the frame that the views share; None if they name none."""
        fixed_from_camera = self.request.views[0].fixed_from_camera
        if fixed_from_camera is None:
            return None
        return fixed_from_camera.double() @ self.result.camera_from_ct[0]

    @property
    def networks_name(self) -> str | None:
        """Return the name of the networks that were used, None without."""
        networks = self.request.networks
        return networks.name if networks and self.result.method == 'spherical' else None

    def write(self, folder: Path) -> tuple[Path, ...]:
        """Write registration.json, overlays and transforms, readable by the owner only.

        Transforms of an earlier result are removed: a file that is called VERIFIED by its name
        must not outlive the result.

        Raises:
            OSError: a file cannot be written or removed.
        """
        contents = {folder / 'registration.json': (self.json_text() + '\n').encode()}
        for number in range(len(self.request.views)):
            suffix = '' if len(self.request.views) == 1 else f'_{number + 1}'
            contents[folder / f'overlay{suffix}.png'] = self.overlay_png(number)
            for name, text in self._transforms(number, suffix).items():
                contents[folder / name] = text.encode()
        folder.mkdir(parents=True, exist_ok=True)
        for old in [path for path in folder.iterdir() if OUR_TRANSFORM.fullmatch(path.name)]:
            old.unlink()
        write_together(contents)
        return tuple(contents)

    def _transforms(self, number: int, suffix: str) -> dict[str, str]:
        """Return files for 3D Slicer by their names, which end with the verdict unless VERIFIED."""
        verdict, pose = self.result.verdict, self.result.camera_from_ct[number]
        ways = (se3.inverse(pose), pose)
        files = {
            f'{name}{suffix}{_doubt(verdict)}.tfm': itk_transform_text(
                source_from_target, (verdict.name, *comments)
            )
            for (name, comments), source_from_target in zip(TRANSFORMS.items(), ways, strict=True)
            if self.has_ct
        }
        for body in self.result.bodies:
            name = f'body_{body.name}_to_imager{suffix}{_doubt(body.verdict)}.tfm'
            body_from_camera = se3.inverse(body.camera_from_body[number])
            files[name] = itk_transform_text(body_from_camera, (body.verdict.name, *BODY_TRANSFORM))
        return files

    def json_text(self) -> str:
        """Return the result as JSON; figures that are no numbers become null."""
        return json.dumps(without_nan(self._content()), indent=2, allow_nan=False)

    def overlay_png(self, number: int) -> bytes:
        """Return the X-ray with the edges of CT and bodies at the final poses, as PNG."""
        request = self.request
        view = request.views[number]
        picture = result_overlay(view, request.volume, request.bodies, self.result, number)
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, format='PNG')
        return buffer.getvalue()

    def _content(self) -> dict[str, Any]:
        result, initial = self.result, self.request.initial_camera_from_ct
        return {
            'notice': 'Research use only, not a medical device.',
            'verdict': result.verdict.name,
            'termination': result.termination.name,
            'camera_from_ct': [pose.tolist() for pose in result.camera_from_ct],
            'fixed_from_ct': None if self.fixed_from_ct is None else self.fixed_from_ct.tolist(),
            'similarity_before': result.similarity_before,
            'similarity_after': result.similarity_after,
            'covariance': result.covariance.tolist(),
            'centre_lps_mm': result.centre_lps_mm.tolist(),
            'iterations': result.iterations,
            'seconds': sum(result.timings_s.values()),
            'timings_s': result.timings_s,
            **_verification_content(result.verification, result.finding),
            'target': None if self.request.target is None else self.request.target.name,
            'moved': [
                {**vars(part), 'size_mm': part.size_mm} for part in result.verification.moved
            ],
            'next_view': _next_view_content(result.next_view),
            'bodies': [_body_content(body) for body in result.bodies],
            'warnings': [*self.xray_warnings, *self.body_notes, *result.warnings],
            'method': result.method,
            'networks': self.networks_name,
            'similarity': result.similarity,
            'runner_up': None if result.runner_up is None else vars(result.runner_up),
            'backend': result.backend,
            'device': result.device,
            'start': self.start.source or None,
            'assumptions': list(self.assumptions),
            'landmarks_px': self.landmarks_px,
            'initial_camera_from_ct': None if initial is None else initial.tolist(),
            'cameras': [self._camera_content(n) for n in range(len(self.request.views))],
            'ct': self._ct_content(),
            'conventions': CONVENTIONS,
            'versions': versions(),
        }

    def _camera_content(self, number: int) -> dict[str, Any]:
        view = self.request.views[number]
        place = view.fixed_from_camera
        return {
            'K': view.camera.K.tolist(),
            'size_rows_columns': view.camera.size,
            'fixed_from_camera': None if place is None else place.tolist(),
        }

    def _ct_content(self) -> dict[str, Any]:
        return {
            'series_uid_hash': self.series_uid_hash,
            'size_columns_rows_slices': self.request.volume.shape[::-1],
            'spacing_mm': self.request.volume.spacing_mm,
            'orientation': orientation_letters(self.request.volume.ct_from_index.cpu().numpy()),
            'energy_kev': self.energy_kev,
        }


def _doubt(verdict: Verdict) -> str:
    return '' if verdict == Verdict.VERIFIED else f'_{verdict.name}'


def _next_view_content(suggested: SuggestedView | None) -> dict[str, Any] | None:
    if suggested is None:
        return None
    return {
        'angles': suggested.angles,
        'primary_deg': math.degrees(suggested.primary_rad),
        'secondary_deg': math.degrees(suggested.secondary_rad),
        'turned_deg': math.degrees(suggested.turned_rad),
        'expected_tre_p95_mm': suggested.bound.total_mm,
        'expected_tre_p95_across_mm': suggested.bound.across_mm,
        'expected_tre_p95_along_mm': suggested.bound.along_mm,
    }


def _body_content(body: BodyResult) -> dict[str, Any]:
    return {
        'name': body.name,
        'frame': body.frame,
        'verdict': body.verdict.name,
        'camera_from_body': [pose.tolist() for pose in body.camera_from_body],
        'moved_from_rest': body.moved_from_rest.tolist(),
        'rotation_deg': math.degrees(body.rotation_rad),
        'translation_mm': body.translation_mm,
        'covariance': body.covariance.tolist(),
        'centre_mm': body.centre_mm.tolist(),
        **_verification_content(body.verification, body.finding),
    }


def _verification_content(verification: Verification, finding: Finding | None) -> dict[str, Any]:
    return {
        'checks': [_check_content(check) for check in verification.checks],
        'reasons': [reason.name for reason in verification.reasons],
        **_finding_content(finding),
        'tre_rms_mm': verification.tre_rms_mm,
        'tre_p95_mm': verification.tre_p95_mm,
        'tre_p95_across_mm': verification.bound.across_mm,
        'tre_p95_along_mm': verification.bound.along_mm,
        'along': list(verification.along),
        'verdict_for': verification.verdict_for.name,
        'reservation': verification.reservation or None,
    }


def _finding_content(finding: Finding | None) -> dict[str, Any]:
    if finding is None:
        return {'reason_code': None, 'reason': None, 'advice': None}
    return {'reason_code': finding.code.name, **vars(finding.explanation)}


def _check_content(check: Check) -> dict[str, Any]:
    return {
        **vars(check),
        'passed': check.passed,
        'verdict': check.verdict.name,
        'reason': check.reason.name,
    }
