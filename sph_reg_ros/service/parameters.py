"""Every parameter of the node, once: type, default, description, range; no ROS here.

config/registration.yaml lists the same names and defaults, and a test compares the two.
"""

from dataclasses import fields

from sph_reg_ros.errors import ConfigError, ErrorCode, require_setting
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.tracking_config import TrackingConfig
from sph_reg_ros.settings import parameter, settings


@settings
class CTParameters:
    """Which CT."""

    path: str = parameter(
        '',
        'DICOM series folder, NIfTI, NRRD or MetaImage; empty: wait for ~/load_ct',
        fixed_while='configured',
    )
    series_uid: str = parameter(
        '', 'SeriesInstanceUID, for a folder with several series', fixed_while='configured'
    )
    assume_lps: bool = parameter(
        False,
        'a CT file that does not say how the patient lies has axes to the left, back and head',
        fixed_while='configured',
    )
    energy_kev: float = parameter(
        60.0,
        'effective photon energy of the X-rays, keV',
        low=30.0,
        high=150.0,
        fixed_while='configured',
    )
    labels: str = parameter(
        '',
        'label map of the CT, such as TotalSegmentator writes: what registration.target names; '
        'empty: none',
        fixed_while='configured',
    )
    self_test: bool = parameter(
        True,
        "register the CT's own localizers, real X-rays whose pose the scanner states, when it is "
        'loaded; takes some seconds where the folder holds one',
        fixed_while='configured',
    )


@settings
class BodiesParameters:
    """What moves for itself."""

    path: str = parameter(
        '',
        'YAML list of bodies, such as vertebrae and implants, each with its own pose and frame; '
        'empty: the CT is one rigid body',
        fixed_while='configured',
    )


@settings
class FrameParameters:
    """Names of the frames that the node owns."""

    patient: str = parameter(
        'patient', 'frame of the CT (LPS world of the series)', fixed_while='active'
    )
    ras_suffix: str = parameter(
        '_ras', 'appended to the patient frame for its RAS twin', fixed_while='active'
    )

    def __post_init__(self) -> None:
        """Refuse names that tf2 cannot hold apart; raises ConfigError."""
        if not self.patient or not self.ras_suffix:
            raise ConfigError(
                ErrorCode.CONFIG_INVALID, 'frames.patient and frames.ras_suffix must not be empty'
            )


@settings
class ImagerPoseParameters:
    """Where the pose of the imager comes from, if use_imager_pose is set."""

    source: str = parameter(
        'topic',
        'topic: PoseStamped on imager_pose; tf: /tf and /tf_static, at the stamp of the image',
        choices=('topic', 'tf'),
        fixed_while='active',
    )
    fixed_frame: str = parameter(
        '',
        'with source tf: frame in which the patient is published; it must stand still while the '
        'imager moves, as the base of the C-arm does',
        fixed_while='active',
    )
    imager_frame: str = parameter(
        '',
        "the imager's optical frame on tf2; empty: the frame_id of the image",
        fixed_while='active',
    )


@settings
class ImageParameters:
    """How X-rays are received and turned into line integrals."""

    reliability: str = parameter(
        'auto',
        'QoS of the inputs; auto: reliable if every publisher offers it, else best effort',
        choices=('auto', 'reliable', 'best_effort'),
        fixed_while='active',
    )
    transport: str = parameter(
        'raw',
        'raw: Image on the topic image; compressed: CompressedImage, PNG or JPEG, on '
        'image/compressed',
        choices=('raw', 'compressed'),
        fixed_while='active',
    )
    rectified: bool = parameter(
        False,
        'the image is rectified: use P of camera_info; otherwise use K and rectify it by D',
    )
    intensity: str = parameter(
        'beer_lambert',
        'what a pixel value means',
        choices=('beer_lambert', 'log_compressed', 'line_integral'),
    )
    max_age: float = parameter(
        1.0, 'older images are refused on arrival, seconds', low=0.01, high=86400.0
    )
    i0: float = parameter(
        0.0, 'pixel value of the unattenuated beam; 0: estimate it', low=0.0, high=1e9
    )
    bright_air: str = parameter(
        'auto',
        'air is bright: true as on a detector, false on an inverted display; auto: what fits the '
        'CT better, if the pose is not verified with bright air',
        choices=('auto', 'true', 'false'),
    )
    mask_saturation: bool = parameter(True, 'ignore saturated pixels')
    mask_collimator: bool = parameter(True, 'ignore what the collimator covers')


@settings
class MatchingParameters:
    """Which camera_info and imager_pose belong to an image."""

    max_time_difference: float = parameter(
        0.02, 'largest difference of stamps, seconds', low=0.0, high=10.0, fixed_while='active'
    )
    timeout: float = parameter(
        1.0,
        'longest wait for what belongs to an image, seconds',
        low=0.0,
        high=60.0,
        fixed_while='active',
    )


@settings
class RegistrationParameters(RegistrationConfig):
    """How an image is registered, and for how long."""

    target: str = parameter(
        '',
        'what verdict and bound are about: a body, a label of the label map, or a box (lowest and '
        'highest x, y and z, LPS, mm); empty: the whole region',
    )
    timeout: float = parameter(30.0, 'longest registration, seconds', low=0.1, high=3600.0)

    def __post_init__(self) -> None:
        """Refuse settings by which no pose could be verified; raises ConfigError."""
        super().__post_init__()
        self.require_checkable()

    @property
    def config(self) -> RegistrationConfig:
        """Return what the library takes."""
        names = (entry.name for entry in fields(RegistrationConfig))
        return RegistrationConfig(**{name: getattr(self, name) for name in names})


@settings
class ValidityParameters:
    """How long a verified registration stays on /tf."""

    duration: float = parameter(
        60.0,
        'the patient is sent for so long after its result, seconds; single exposures of a patient '
        'who lies still are valid for long, for tracking choose little more than a period',
        low=0.05,
        high=86400.0,
    )
    period: float = parameter(
        0.05, 'seconds between two transforms on /tf', low=0.01, high=1.0, fixed_while='running'
    )


@settings
class PathParameters:
    """What may be read."""

    allowed: tuple[str, ...] = parameter(
        ('~',),
        'folders below which CTs and networks may lie; those that are given at the start may lie '
        'anywhere',
        fixed_while='running',
    )


@settings
class WorkerParameters:
    """The process that computes."""

    silence: float = parameter(
        1.5, 'a worker that does not answer for so long is replaced, seconds', low=0.5, high=3600.0
    )


@settings
class WeightsParameters:
    """Weights of networks."""

    path: str = parameter(
        '',
        'folder of networks: <name>/regressor and <name>/similarity, each with model.safetensors '
        'and card.json; empty: only those that come with the software',
        fixed_while='configured',
    )


@settings
class TrackingParameters:
    """Following the patient from X-ray to X-ray."""

    enabled: bool = parameter(
        False,
        'follow the patient from each X-ray to the next one, many times a second; false: register '
        'each X-ray by itself',
    )
    full_checks_every: int = parameter(
        60, 'X-rays from one that begins all checks to the next', low=1, high=10_000
    )
    max_frames: int = parameter(
        240,
        'no X-ray is VERIFIED if more before it passed light checks only',
        low=1,
        high=100_000,
    )
    max_gap: float = parameter(
        0.5,
        'seconds without an X-ray, after which all checks have to be passed anew',
        low=0.01,
        high=10.0,
    )
    validity: float = parameter(
        1.0,
        'seconds that the patient is sent after an X-ray that passed light checks only',
        low=0.05,
        high=86400.0,
    )

    @property
    def config(self) -> TrackingConfig:
        """Return what the tracker takes."""
        return TrackingConfig(
            full_checks_every=self.full_checks_every,
            max_frames=self.max_frames,
            max_gap_s=self.max_gap,
        )


@settings
class DiagnosticsParameters:
    """Reports of the node on itself."""

    period: float = parameter(
        1.0, 'seconds between /diagnostics messages', low=0.1, high=60.0, fixed_while='running'
    )


@settings
class NodeParameters:
    """All parameters."""

    autostart: bool = parameter(
        False, 'configure and activate without being asked', fixed_while='running'
    )
    continuous: bool = parameter(
        True, 'register every image, the newest first; false: only by the action ~/register'
    )
    use_imager_pose: bool = parameter(
        True,
        "wait for the imager's pose and publish the patient in its fixed frame; false: in the "
        'imager frame',
        fixed_while='active',
    )
    ct: CTParameters = CTParameters()
    bodies: BodiesParameters = BodiesParameters()
    imager_pose: ImagerPoseParameters = ImagerPoseParameters()
    frames: FrameParameters = FrameParameters()
    image: ImageParameters = ImageParameters()
    matching: MatchingParameters = MatchingParameters()
    registration: RegistrationParameters = RegistrationParameters()
    tracking: TrackingParameters = TrackingParameters()
    validity: ValidityParameters = ValidityParameters()
    worker: WorkerParameters = WorkerParameters()
    paths: PathParameters = PathParameters()
    weights: WeightsParameters = WeightsParameters()
    diagnostics: DiagnosticsParameters = DiagnosticsParameters()

    def __post_init__(self) -> None:
        """Refuse frames that cannot be told apart; raises ConfigError."""
        fixed, imager = self.imager_pose.fixed_frame, self.imager_pose.imager_frame
        if self.imager_from_tf:
            require_setting(
                bool(fixed), 'imager_pose.source is tf: imager_pose.fixed_frame must name a frame'
            )
            require_setting(
                fixed not in (imager, self.frames.patient),
                f'imager_pose.fixed_frame {fixed!r} must be neither the frame of the imager nor '
                'that of the patient',
            )

    @property
    def imager_from_tf(self) -> bool:
        """Return whether the imager's pose is looked up on tf2."""
        return self.use_imager_pose and self.imager_pose.source == 'tf'

    @property
    def imager_from_topic(self) -> bool:
        """Return whether the imager's pose is what comes on imager_pose."""
        return self.use_imager_pose and self.imager_pose.source == 'topic'
