"""Is a real X-ray of this patient registered to this CT where the scanner says it was taken?

The truth is the scanner's own pose in the localizer's header, which no image made. Its distance
along the beam is nominal, so that errors across the beam and turns are what counts.
"""

import math
import time
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.geometry import se3
from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.imaging.localizer import Localizer
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.course import Observer
from sph_reg_ros.registration.register import register
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.result import RegistrationResult, Verdict
from sph_reg_ros.registration.self_test.localizer_view import LocalizerView, compared_part
from sph_reg_ros.registration.self_test.scanner_error import ScannerError

MIRRORED = (
    'the localizer looks more like the mirrored CT: left and right, or front and back, are '
    'exchanged in one of them, or this scanner counts its tube angle the other way round'
)
ELSEWHERE = 'the pose passed its checks, but is not the one that the scanner states: {}'


MOST_ROWS_APART = 0.015
"""How far the distance of a localizer's rows may be from the header's, as a share of it. It follows
from the speed of the table and is as nominal as the distance along the beam, which alone makes good
for columns; more is a finding."""
ROWS_LEVEL_PX = 64
"""Height at which the distance of rows is found."""


@dataclass(frozen=True)
class SelfTestSettings:
    """How the self-test goes about it.

    Attributes:
        starts: registrations, each from a start of its own.
        rotation_deg: how far each start is turned from the scanner's pose, about any axis.
        shift_mm: how far it is shifted, in any direction.
        seed: of axes and directions.
    """

    starts: int = 3
    rotation_deg: float = 8.0
    shift_mm: float = 10.0
    seed: int = 0


@dataclass(frozen=True)
class SelfTestRun:
    """One registration of the localizer.

    Attributes:
        result: what the registration answers.
        error: its pose less the scanner's.
    """

    result: RegistrationResult
    error: ScannerError

    @property
    def verdict(self) -> Verdict:
        """Return VERIFIED only for a pose that the checks pass and the scanner confirms."""
        if self.result.verdict == Verdict.VERIFIED and not self.error.agrees:
            return Verdict.REJECTED
        return self.result.verdict


@dataclass(frozen=True)
class SelfTest:
    """What the self-test says of one localizer.

    Attributes:
        localizer: the one of both sides that was registered.
        compared: what was compared of it, with the scanner's pose.
        rows_apart: distance of its rows in units of what the header states, as they fit the CT.
        runs: one a start.
        mirrored_gain: similarity with the source on the side that the file states, less that with
            the source on the other one, which is nearly that of the mirrored CT; None if the file
            states no side, and the side that fits better was taken.
        seconds: all of it.
    """

    localizer: Localizer
    compared: LocalizerView
    rows_apart: float
    runs: tuple[SelfTestRun, ...]
    mirrored_gain: float | None
    seconds: float

    @property
    def best(self) -> SelfTestRun:
        """Return the run that ended most similar."""
        return max(self.runs, key=lambda run: run.result.similarity_after)

    @property
    def share_found(self) -> float:
        """Return the share of the starts that ended at the scanner's pose."""
        return sum(run.error.agrees for run in self.runs) / len(self.runs)

    @property
    def is_mirrored(self) -> bool:
        """Return whether the mirrored CT fits better; never true for an unknown side."""
        # NaN is no evidence that it does not.
        return self.mirrored_gain is not None and not self.mirrored_gain > 0

    @property
    def verdict(self) -> Verdict:
        """Return the verdict on the best run; REJECTED if the mirrored CT fits better."""
        return Verdict.REJECTED if self.is_mirrored else self.best.verdict

    @property
    def reason(self) -> str:
        """Return why it is not VERIFIED, '' if it is."""
        if self.is_mirrored:
            return MIRRORED
        result = self.best.result
        if result.verdict == Verdict.VERIFIED:
            return '' if self.best.error.agrees else ELSEWHERE.format(self.best.error)
        return '' if result.finding is None else result.finding.explanation.reason


def self_test(
    volume: AttenuationVolume,
    localizer: Localizer,
    settings: SelfTestSettings | None = None,
    config: RegistrationConfig | None = None,
    observer: Observer | None = None,
) -> SelfTest:
    """Register a localizer from starts around the scanner's pose, and compare with that.

    Args:
        volume: the CT.
        localizer: of the same study.
        settings: starts.
        config: of the registration; networks are not used, since none are trained on line scans.
            Unless it limits the error across the beam, max_tre_mm is that limit: one line scan
            leaves the distance along the beam open by millimetres.
        observer: as of `register`.

    Raises:
        SolverError: NO_OVERLAP if the localizer and the CT have too little in common.
        CancelledError: the observer asked to stop.
    """
    began = time.monotonic()
    settings = settings or SelfTestSettings()
    config = _across_the_beam(config or RegistrationConfig())
    scene = _Scene(volume, localizer, config, observer)
    gain = None
    if localizer.other_side is not None:
        other = _Scene(volume, localizer.other_side, config, observer)
        gain = scene.similarity - other.similarity
        if not localizer.side_known:
            scene, gain = (other if gain < 0 else scene), None
    runs = tuple(map(scene.run, starts_around(scene.part.stated, volume.centre.cpu(), settings)))
    seconds = time.monotonic() - began
    return SelfTest(scene.localizer, scene.part, scene.rows_apart, runs, gain, seconds)


def _across_the_beam(config: RegistrationConfig) -> RegistrationConfig:
    limit_mm = config.max_tre_across_mm or config.max_tre_mm
    return replace(config, method='image', max_tre_across_mm=limit_mm, max_tre_along_mm=0.0)


def starts_around(
    stated: Float64[Tensor, '4 4'], centre: Float64[Tensor, '3'], settings: SelfTestSettings
) -> Float64[Tensor, 'n 4 4']:
    """Return poses turned about the CT's middle and shifted by the same amounts, any which way."""
    generator = torch.Generator().manual_seed(settings.seed)
    ways = torch.randn(settings.starts, 2, 3, dtype=torch.float64, generator=generator)
    ways /= ways.norm(dim=-1, keepdim=True)
    amounts = ways.new_tensor([math.radians(settings.rotation_deg), settings.shift_mm])
    twists = (ways * amounts[:, None]).flatten(1)
    return se3.apply_twist(twists, stated.expand(len(twists), 4, 4), centre)


@dataclass
class _Scene:
    """A localizer as one side of the patient sees it."""

    volume: AttenuationVolume
    localizer: Localizer
    config: RegistrationConfig
    observer: Observer | None
    part: LocalizerView = field(init=False)
    rows_apart: float = field(init=False)

    def __post_init__(self) -> None:
        nominal = compared_part(self.volume, self.localizer)
        config = replace(self.config, levels=(ROWS_LEVEL_PX,), starts=0)
        scores = []
        for factor in (1 - MOST_ROWS_APART, 1.0, 1 + MOST_ROWS_APART):
            self.part = nominal.with_rows_apart(factor)
            scores.append(self._similarity_near(config))
        self.rows_apart = 1 + MOST_ROWS_APART * _peak(*scores)
        self.part = nominal.with_rows_apart(self.rows_apart)

    @property
    def similarity(self) -> float:
        """Return the similarity of the optimum next to the scanner's pose."""
        return self._similarity_near(replace(self.config, starts=0))

    def _similarity_near(self, config: RegistrationConfig) -> float:
        request = self._request(self.part.stated, config)
        return register(request, self.observer, verified=False).similarity_after

    def run(self, start: Float64[Tensor, '4 4']) -> SelfTestRun:
        result = register(self._request(start, self.config), self.observer)
        error = ScannerError.between(result.camera_from_ct[0], self.part.stated, self.volume.centre)
        return SelfTestRun(result, error)

    def _request(
        self, start: Float64[Tensor, '4 4'], config: RegistrationConfig
    ) -> RegistrationRequest:
        return RegistrationRequest(self.volume, (self.part.view,), start, config)


def _peak(before: float, middle: float, after: float) -> float:
    """Return where the parabola through values at -1, 0 and 1 is largest, within these."""
    bend = before - 2 * middle + after
    if not bend < 0:
        return 0.0
    return max(-1.0, min(1.0, (before - after) / (2 * bend)))
