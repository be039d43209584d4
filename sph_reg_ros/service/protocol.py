"""Messages between node and worker process: plain data, no tensors, no ROS.

Every request is answered by any number of ProgressReports, then one reply or Failure.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32, Float64, Shaped, UInt8

from sph_reg_ros.errors import ErrorCode
from sph_reg_ros.imaging.xray.lens import Lens
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.moved_part import MovedPart
from sph_reg_ros.registration.reasons import InputDoubt
from sph_reg_ros.registration.suggested_view import SuggestedView
from sph_reg_ros.registration.tracking_config import TrackingConfig
from sph_reg_ros.service.parameters import ImageParameters


@dataclass(frozen=True)
class LoadCT:
    """Load a CT in place of the present one, with its networks; answered by CTLoaded.

    The present one stays if that fails; for a moment both are in memory.

    Attributes:
        path: see parameters.CTParameters, also for the next two.
        series_uid: which one of a folder.
        energy_kev: of the X-rays.
        weights: see parameters.WeightsParameters; None: look for no networks.
        backend: renderer to compile what is compiled on first use for; None: leave that to then.
        assume_lps: see parameters.CTParameters.
        device: where the CT will be, see RegistrationConfig.
        bodies: list of bodies, '' for none; see parameters.BodiesParameters.
        allowed: folders below which what the list names may lie; None: anywhere.
        self_test: see parameters.CTParameters.
        labels: the same; '' for none.
    """

    path: str
    series_uid: str
    energy_kev: float
    weights: str | None = ''
    backend: str | None = None
    assume_lps: bool = False
    device: str = 'auto'
    bodies: str = ''
    allowed: tuple[str, ...] | None = None
    self_test: bool = False
    labels: str = ''


@dataclass(frozen=True)
class ListSeries:
    """List the DICOM series of a folder; answered by SeriesListed."""

    path: str


@dataclass(frozen=True)
class Ready:
    """Say whether everything that computing needs is installed; answered by Done."""


@dataclass(frozen=True)
class RegisterView:
    """One X-ray; see messages.xray_view.XRayView."""

    pixels: Shaped[np.ndarray, 'H W']
    K: Float64[np.ndarray, '3 3']
    fixed_from_camera: Float64[np.ndarray, '4 4'] | None = None
    lens: Lens | None = None


@dataclass(frozen=True)
class Register:
    """Register the loaded CT, with or without initial pose; answered by Registered.

    The covariance is that of xray_view.InitialPose, in the axes of the first view; the target that
    of parameters.RegistrationParameters.
    """

    views: tuple[RegisterView, ...]
    initial_camera_from_ct: Float64[np.ndarray, '4 4'] | None
    initial_covariance: Float64[np.ndarray, '6 6'] | None = None
    config: RegistrationConfig = field(default_factory=RegistrationConfig)
    image: ImageParameters = field(default_factory=ImageParameters)
    drr: bool = False
    overlay: bool = False
    frame: 'StreamFrame | None' = None
    target: str = ''


@dataclass(frozen=True)
class StreamFrame:
    """Follow the one view from the frame before it (`registration.track`).

    Attributes:
        stream: number of the stream; another one than before forgets what was followed.
        time_s: of the exposure.
        tracking: how.
    """

    stream: int
    time_s: float
    tracking: TrackingConfig = field(default_factory=TrackingConfig)


@dataclass(frozen=True)
class Cancel:
    """Stop the running request as soon as possible.

    Attributes:
        code: CANCELLED, or TIMEOUT if a result that is already there is welcome.
    """

    code: ErrorCode


@dataclass(frozen=True)
class Ping:
    """Say that you are there; answered at once by Pong, also while a request is carried out."""

    number: int


@dataclass(frozen=True)
class Pong:
    """I am here."""

    number: int


@dataclass(frozen=True)
class Done:
    """The request is carried out."""


@dataclass(frozen=True)
class CTLoaded:
    """What was loaded.

    Nothing in here tells whose CT it is, unless the folder of the networks, '' if there are none,
    bears a telling name. Doubts say why a registration may fail or mislead, the device where the CT
    is and will be registered, the self-test what came of each localizer, a line each.
    """

    series_uid_hash: str
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    networks: str = ''
    doubts: tuple[str, ...] = ()
    device: str = 'cpu'
    self_test: tuple[str, ...] = ()


@dataclass(frozen=True)
class SeriesListed:
    """One line of text a series."""

    lines: tuple[str, ...]


@dataclass(frozen=True)
class ProgressReport:
    """See registration.result.Progress."""

    stage: str
    iteration: int
    loss: float
    best_loss: float
    elapsed_s: float


@dataclass(frozen=True)
class CheckReport:
    """See registration.Check; enums are numbers."""

    name: str
    value: float
    limit: float
    passed: bool
    verdict: int
    reason: int
    found: str = ''


@dataclass(frozen=True)
class BodyReport:
    """See registration.result.BodyResult; enums are numbers."""

    name: str
    frame: str | None
    camera_from_body: tuple[Float64[np.ndarray, '4 4'], ...]
    moved_from_rest: Float64[np.ndarray, '4 4']
    covariance: Float64[np.ndarray, '6 6']
    centre_mm: Float64[np.ndarray, '3']
    rotation_rad: float
    translation_mm: float
    verdict: int
    checks: tuple[CheckReport, ...]
    tre_rms_mm: float
    tre_p95_mm: float
    tre_p95_across_mm: float
    tre_p95_along_mm: float
    along: tuple[float, ...]
    verdict_for: int


@dataclass(frozen=True)
class Registered:
    """See registration.RegistrationResult; enums are numbers, images are of the first view."""

    ct_series_uid_hash: str
    camera_from_ct: tuple[Float64[np.ndarray, '4 4'], ...]
    covariance: Float64[np.ndarray, '6 6']
    centre_lps_mm: Float64[np.ndarray, '3']
    termination: int
    verdict: int
    similarity_before: float
    similarity_after: float
    iterations: int
    compute_s: float
    checks: tuple[CheckReport, ...]
    warnings: tuple[str, ...]
    method: str
    backend: str
    runner_up_mm: float = math.nan
    tre_rms_mm: float = math.nan
    tre_p95_mm: float = math.nan
    tre_p95_across_mm: float = math.nan
    tre_p95_along_mm: float = math.nan
    along: tuple[float, ...] = (math.nan, math.nan, math.nan)
    verdict_for: int = 0
    doubts: tuple[InputDoubt, ...] = ()
    frames_since_full_checks: int | None = 0
    device: str = ''
    drr: Float32[np.ndarray, 'H W'] | None = None
    overlay: UInt8[np.ndarray, 'H W 3'] | None = None
    bodies: tuple[BodyReport, ...] = ()
    target: str = ''
    moved: tuple[MovedPart, ...] = ()
    next_view: SuggestedView | None = None


@dataclass(frozen=True)
class Failure:
    """The request failed; `kind` is the name of a class in errors.py."""

    kind: str
    code: ErrorCode
    message: str


Request = Ready | LoadCT | ListSeries | Register
Reply = Done | CTLoaded | SeriesListed | Registered
