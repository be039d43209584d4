"""Settings of a registration; the ROS parameters and the command line read them from here."""

from sph_reg_ros.errors import require_setting
from sph_reg_ros.plausible import SOURCE_PATIENT_MM
from sph_reg_ros.registration.calibration import AS_CALIBRATION, CALIBRATIONS, ImagerTrust
from sph_reg_ros.registration.choices import METHODS, ROBUST_KERNELS, SIMILARITIES
from sph_reg_ros.registration.error_parts import VerdictFor
from sph_reg_ros.registration.gate_limits import BOUND_SCALE, FLOOR_MM
from sph_reg_ros.rendering.backends import BACKENDS, DEVICES
from sph_reg_ros.settings import parameter, settings

LEAST_LEVEL_PX = 12
"""On smaller images the edges, which have no slopes, leave nothing to compare."""
LEAST_CHECKED_PX = 48
"""Height of the finest level at which the checks can verify a pose: on 32 px, patches of a good
C-arm image lie off by more than the checks bear."""


@settings
class RegistrationConfig:
    """How `register` works; the defaults suit a C-arm and a CT of a trunk.

    Attributes:
        method: how to start; spherical: from the pose that networks give, or like image where
            there are none for the CT and the imager; image: search around the initial pose, if
            there is one also after networks whose pose fails the checks.
        backend: what renders the CT.
        device: where CT, X-rays and networks are and everything is computed; auto: a CUDA device if
            there is one that the backend can use.
        similarity: what is compared of rendering and X-ray; mapped: with a smooth intensity curve
            fitted inside; local: patch by patch; gradient: of the edges.
        robust_kernel: how little the worst residuals count.
        starts: rough poses from the search that are refined beside the initial one; 0: no search.
            Without initial pose, a fixed number is refined.
        search_rotation_rad: standard deviation of the initial pose's error about each axis; none is
            exact, so that 0 is refused here and below (starts 0 turns the search off).
        search_in_plane_mm: standard deviation of its shift along the image's rows and columns.
        search_depth_mm: standard deviation of its shift along the beam.
        search_distance_mm: about how far the CT's middle is from the X-ray source, where there is
            no initial pose and all view directions are searched; 0.8 to 1.25 times that is covered.
        levels: image heights in pixels, coarse to fine, the finest at least 48; levels above the
            X-ray's own are skipped.
        max_iterations: solver steps a level.
        max_tre_mm: largest error that can be borne; a pose whose 95 % bound exceeds it is not
            verified, and no bound is below 0.2.
        max_tre_across_mm: the same of the error across the beam; if above 0, VERIFIED is for that
            only, however uncertain the depth, unless max_tre_along_mm is above 0, too.
        max_tre_along_mm: the same along the beam. These two take the place of max_tre_mm.
        calibration: how far the camera can be trusted; it widens the bound on the error. Standard
            deviations of focal length, principal point, aspect, skew and distortion: exact 0;
            calibrated 0.001, 0.001, 0.0005, 0.0005, 0.0005; nominal 0.01, 0.015, 0.002, 0.002,
            0.005; unknown 0.05, 0.05, 0.02, 0.02, 0.05.
        focal_length_sd: standard deviation of the focal length, as a share of it (0.005: 3.5 mm of
            depth at 700 mm); 0: exact; -1: as calibration, here and below.
        principal_point_sd: that of the principal point, as a share of the image's height.
        aspect_sd: that of the ratio of a pixel's width and height.
        skew_sd: that of the tangent by which pixels are oblique.
        distortion_sd: that of the share of its distance from the centre by which a pixel half an
            image's height away from it is displaced, radially or around the centre.
        target_motion_mm: how far a target that is named may have moved against the rest of the CT,
            standard deviation along each axis; one X-ray leaves it open along the beam; 0: it moves
            with the rest.
        max_primary_deg: largest positioner primary angle (LAO, RAO) that the imager can reach; the
            next X-ray is suggested within these limits.
        max_secondary_deg: the same of the secondary angle (cranial, caudal).
        max_rotation_step_rad: cap of a step's rotation.
        max_translation_step_mm: cap of a step's translation.
    """

    method: str = parameter('spherical', choices=METHODS)
    backend: str = parameter('auto', choices=BACKENDS)
    device: str = parameter('auto', choices=DEVICES)
    similarity: str = parameter('mapped_ncc+gradient', choices=SIMILARITIES)
    robust_kernel: str = parameter('none', choices=ROBUST_KERNELS)
    starts: int = parameter(4, low=0, high=64)
    search_rotation_rad: float = parameter(0.14, low=0.001, high=0.7)
    search_in_plane_mm: float = parameter(15.0, low=0.1, high=200.0)
    search_depth_mm: float = parameter(30.0, low=0.1, high=500.0)
    search_distance_mm: float = parameter(
        700.0, low=SOURCE_PATIENT_MM[0], high=SOURCE_PATIENT_MM[1]
    )
    levels: tuple[int, ...] = (32, 64, 128, 256)
    max_iterations: int = parameter(30, low=1, high=1000)
    max_tre_mm: float = parameter(3.0, low=BOUND_SCALE * FLOOR_MM, high=1000.0)
    max_tre_across_mm: float = parameter(0.0, low=0.0, high=1000.0)
    max_tre_along_mm: float = parameter(0.0, low=0.0, high=1000.0)
    calibration: str = parameter('calibrated', choices=tuple(CALIBRATIONS))
    focal_length_sd: float = parameter(AS_CALIBRATION, low=AS_CALIBRATION, high=0.1)
    principal_point_sd: float = parameter(AS_CALIBRATION, low=AS_CALIBRATION, high=0.1)
    aspect_sd: float = parameter(AS_CALIBRATION, low=AS_CALIBRATION, high=0.1)
    skew_sd: float = parameter(AS_CALIBRATION, low=AS_CALIBRATION, high=0.1)
    distortion_sd: float = parameter(AS_CALIBRATION, low=AS_CALIBRATION, high=0.2)
    target_motion_mm: float = parameter(5.0, low=0.0, high=100.0)
    max_primary_deg: float = parameter(100.0, low=0.0, high=180.0)
    max_secondary_deg: float = parameter(30.0, low=0.0, high=90.0)
    max_rotation_step_rad: float = parameter(0.175, low=0.001, high=3.2)
    max_translation_step_mm: float = parameter(30.0, low=0.1, high=1000.0)

    def __post_init__(self) -> None:
        """Check ranges; raises ConfigError."""
        require_setting(
            len(self.levels) > 0 and min(self.levels) >= LEAST_LEVEL_PX,
            f'levels must be {LEAST_LEVEL_PX} px or more',
        )
        for name in ('max_tre_across_mm', 'max_tre_along_mm'):
            limit_mm = getattr(self, name)
            require_setting(
                limit_mm == 0 or limit_mm >= BOUND_SCALE * FLOOR_MM,
                f'{name} must be 0 (not asked for) or {BOUND_SCALE * FLOOR_MM:g} or more: no bound '
                'is smaller',
            )
        require_setting(list(self.levels) == sorted(self.levels), 'levels must go coarse to fine')

    @property
    def imager_trust(self) -> ImagerTrust:
        """Return the standard deviations of what cameras say of their imagers."""
        return CALIBRATIONS[self.calibration].but(
            self.focal_length_sd,
            self.principal_point_sd,
            self.aspect_sd,
            self.skew_sd,
            self.distortion_sd,
        )

    @property
    def verdict_for(self) -> VerdictFor:
        """Return what a verdict is asked for: all of the pose unless one part is limited alone."""
        across, along = self.max_tre_across_mm > 0, self.max_tre_along_mm > 0
        if across == along:
            return VerdictFor.POSE
        return VerdictFor.ACROSS_BEAM if across else VerdictFor.ALONG_BEAM

    def require_checkable(self) -> None:
        """Raise ConfigError if the checks would refuse every pose."""
        require_setting(
            self.levels[-1] >= LEAST_CHECKED_PX,
            f'the last of levels must be {LEAST_CHECKED_PX} px or more: the checks refuse every '
            'pose that is found on coarser images',
        )
