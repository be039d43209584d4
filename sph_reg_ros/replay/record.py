"""The record of a replay, image by image, as plain data for JSON."""

import json
import math
from dataclasses import asdict, dataclass, field
from typing import Any

from sph_reg_ros.evaluation.metrics import PoseError
from sph_reg_ros.files import without_nan
from sph_reg_ros.registration.error_parts import VerdictFor

VERIFIED = 'VERIFIED'
_BOUNDS = ('bound_mm', 'bound_across_mm', 'bound_along_mm')
DROPPED = 'DROPPED'
"""Verdict on an image that gave way to newer ones before its companions were there."""


@dataclass(frozen=True)
class CheckRow:
    """One figure that was compared with its limit."""

    name: str
    value: float
    limit: float
    passed: bool


@dataclass(frozen=True)
class BodyRow:
    """One body in one image.

    Attributes:
        name: of the body.
        verdict: VERIFIED, UNVERIFIED or REJECTED.
        reason: as in ImageRow.
        camera_from_body: found pose, nested lists (mm).
        translation_mm: how far its middle has moved since the CT.
        rotation_deg: how far it has turned.
        bound_mm: 95 % bound of its target registration error.
        bound_across_mm: its part across the beam.
        bound_along_mm: that along it.
        verdict_for: what the verdict is for, a name of VerdictFor.
        error: of the found pose against the truth; None if that is not known.
    """

    name: str
    verdict: str
    reason: str
    camera_from_body: list[list[float]]
    translation_mm: float
    rotation_deg: float
    bound_mm: float
    bound_across_mm: float
    bound_along_mm: float
    verdict_for: str
    error: PoseError | None = None

    @property
    def is_verified(self) -> bool:
        """Return whether the pose may be used."""
        return self.verdict == VERIFIED


@dataclass(frozen=True)
class MovedRow:
    """What has moved by itself in an image; see registration.moved_part.MovedPart."""

    box: list[float]
    centre_lps_mm: list[float]
    extent_mm: list[float]
    shift_mm: list[float]

    @property
    def size_mm(self) -> float:
        """Return how far it has moved across the beam."""
        return math.hypot(*self.shift_mm)


@dataclass(frozen=True)
class ImageRow:
    """One image; matrices are nested lists (mm), None where there is none.

    Attributes:
        number: of the image in the bag, from 1, by run and stamp.
        stamp_ns: of the exposure.
        frame_id: the imager's.
        verdict: VERIFIED, UNVERIFIED, REJECTED or DROPPED.
        reason: why it is not verified: a name of ErrorCode and its text; '' otherwise.
        view: C-arm angles at the found pose, else ''.
        camera_from_ct: found pose.
        fixed_frame: of the imager pose; '' without one.
        fixed_from_camera: imager pose.
        similarity_before: at the start; NaN if nothing was registered, as the next ones.
        similarity_after: at the pose.
        bound_mm: 95 % bound of the target registration error; NaN if there is none.
        bound_across_mm: its part across the beam.
        bound_along_mm: that along it.
        verdict_for: what the verdict is for, a name of VerdictFor.
        runner_up_mm: distance of the next best pose.
        iterations: of the solver.
        method: as in RegistrationConfig.
        backend: renderer.
        device: where it was computed.
        start_error: of the initial pose against the truth; None if one of them is not known.
        error: of the found pose against the truth.
        checks: what was compared.
        warnings: what the user should know.
        seconds: computation.
        pictures: names of the files with X-ray and rendering, by kind.
        run: of the bag through its stamps, from 0.
        bodies: what moves for itself, in the order of its list.
        target: what the verdict is about; '' for the whole region.
        moved: what has moved by itself, the largest shift first.
        next_view: which X-ray to take next, a phrase; '' if none is asked for.
    """

    number: int
    stamp_ns: int
    frame_id: str
    verdict: str
    reason: str = ''
    view: str = ''
    camera_from_ct: list[list[float]] | None = None
    fixed_frame: str = ''
    fixed_from_camera: list[list[float]] | None = None
    similarity_before: float = math.nan
    similarity_after: float = math.nan
    bound_mm: float = math.nan
    bound_across_mm: float = math.nan
    bound_along_mm: float = math.nan
    verdict_for: str = VerdictFor.POSE.name
    runner_up_mm: float = math.nan
    iterations: int = 0
    method: str = ''
    backend: str = ''
    device: str = ''
    start_error: PoseError | None = None
    error: PoseError | None = None
    checks: tuple[CheckRow, ...] = ()
    warnings: tuple[str, ...] = ()
    seconds: float = math.nan
    pictures: dict[str, str] = field(default_factory=dict)
    run: int = 0
    bodies: tuple[BodyRow, ...] = ()
    target: str = ''
    moved: tuple[MovedRow, ...] = ()
    next_view: str = ''

    @property
    def is_verified(self) -> bool:
        """Return whether the pose may be used."""
        return self.verdict == VERIFIED


@dataclass(frozen=True)
class BagRecord:
    """One bag.

    Attributes:
        name: of the bag.
        ct: series_uid_hash of the CT.
        rows: its images, by run and stamp.
        versions: of the software.
        failure: why the bag could not be replayed; '' if it was.
        doubts: about the CT, a phrase each.
    """

    name: str
    ct: str = ''
    rows: tuple[ImageRow, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    failure: str = ''
    doubts: tuple[str, ...] = ()

    @property
    def all_refused(self) -> bool:
        """Return whether there are images, and a pose of none of them."""
        return bool(self.rows) and all(row.camera_from_ct is None for row in self.rows)

    def to_json(self) -> str:
        """Return the record as text; NaN becomes null."""
        return json.dumps(without_nan(asdict(self)), indent=1, allow_nan=False)


def record_from_json(text: str) -> BagRecord:
    """Return what `to_json` wrote."""
    content = json.loads(text)
    content['rows'] = tuple(_row(row) for row in content['rows'])
    content['doubts'] = tuple(content['doubts'])
    return BagRecord(**content)


def _row(content: dict[str, Any]) -> ImageRow:
    names = ('similarity_before', 'similarity_after', *_BOUNDS, 'runner_up_mm', 'seconds')
    for name in names:
        content[name] = _number(content[name])
    for name in ('start_error', 'error'):
        if content[name] is not None:
            content[name] = PoseError(**content[name])
    content['checks'] = tuple(
        CheckRow(c['name'], _number(c['value']), _number(c['limit']), c['passed'])
        for c in content['checks']
    )
    content['warnings'] = tuple(content['warnings'])
    content['moved'] = tuple(MovedRow(**part) for part in content['moved'])
    content['bodies'] = tuple(_body(body) for body in content['bodies'])
    return ImageRow(**content)


def _body(content: dict[str, Any]) -> BodyRow:
    error = None if content['error'] is None else PoseError(**content['error'])
    bounds = {name: _number(content[name]) for name in _BOUNDS}
    return BodyRow(**content | {'error': error} | bounds)


def _number(value: float | None) -> float:
    return math.nan if value is None else value
