"""What is stated about an imager: it completes or overrides what a file says."""

from dataclasses import dataclass

from sph_reg_ros.errors import CameraError, ErrorCode
from sph_reg_ros.geometry import Camera
from sph_reg_ros.plausible import (
    PIXEL_PITCH_MM,
    SOURCE_DETECTOR_MM,
    SOURCE_PATIENT_MM,
    require_distance,
)


@dataclass(frozen=True)
class GivenGeometry:
    """Values that were given; None where the file counts.

    Attributes:
        sdd_mm: source to detector.
        pixel_pitch_mm: spacing of rows and of columns on the detector.
        principal_point: (column, row) of the central ray.
        angles_deg: C-arm angles (primary, secondary) of the frame that is used.
        sod_mm: source to isocentre.
    """

    sdd_mm: float | None = None
    pixel_pitch_mm: tuple[float, float] | None = None
    principal_point: tuple[float, float] | None = None
    angles_deg: tuple[float, float] | None = None
    sod_mm: float | None = None

    def __post_init__(self) -> None:
        """Check that the distances are those of an imager; raises CameraError."""
        require_distance('the source-detector distance', self.sdd_mm, SOURCE_DETECTOR_MM)
        for pitch in self.pixel_pitch_mm or ():
            require_distance('the pixel pitch', pitch, PIXEL_PITCH_MM)
        require_distance('the source-isocentre distance', self.sod_mm, SOURCE_PATIENT_MM)
        if self.sdd_mm is not None and self.sod_mm is not None and self.sod_mm >= self.sdd_mm:
            raise CameraError(
                ErrorCode.CAMERA_INVALID,
                f'the source-isocentre distance {self.sod_mm:g} mm must be smaller than the '
                f'source-detector distance {self.sdd_mm:g} mm',
            )

    @property
    def makes_camera(self) -> bool:
        """Return whether this is a whole camera by itself."""
        return self.sdd_mm is not None and self.pixel_pitch_mm is not None

    def camera(self, size: tuple[int, int]) -> Camera | None:
        """Return the camera of an image (height, width) without own geometry; None if it lacks."""
        if self.sdd_mm is None or self.pixel_pitch_mm is None:
            return None
        return Camera.from_geometry(self.sdd_mm, self.pixel_pitch_mm, size, self.principal_point)


NOTHING_GIVEN = GivenGeometry()
