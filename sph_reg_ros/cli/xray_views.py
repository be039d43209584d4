"""X-rays from files, with the cameras that belong to them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.cli.camera_file import read_camera
from sph_reg_ros.errors import CameraError, ErrorCode, RegistrationError
from sph_reg_ros.geometry import Camera
from sph_reg_ros.imaging.intensity import IntensityKind, IntensityModel
from sph_reg_ros.imaging.isolated_xray import load_xray
from sph_reg_ros.imaging.lens import Lens
from sph_reg_ros.imaging.xray import XRay, prepare_xray
from sph_reg_ros.registration.request import View


@dataclass(frozen=True)
class BeamOptions:
    """Cameras of X-rays: one file for each, or distances in mm and principal point (column, row).

    The X-ray's own geometry counts where nothing is given.
    """

    camera_paths: tuple[Path, ...] = ()
    sdd_mm: float | None = None
    pixel_pitch_mm: tuple[float, float] | None = None
    principal_point: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        """Check that one of both was given at most; raises CameraError."""
        if self.camera_paths and self.has_distances:
            raise CameraError(
                ErrorCode.CAMERA_INVALID,
                'give --camera, or --sdd, --pixel-pitch and --principal-point, not both',
            )

    @property
    def has_distances(self) -> bool:
        """Return whether distances were given."""
        given = (self.sdd_mm, self.pixel_pitch_mm, self.principal_point)
        return any(option is not None for option in given)

    def camera_by_distances(self, size: tuple[int, int]) -> Camera | None:
        """Return the camera of an image (height, width), None if no distance was given."""
        if not self.has_distances:
            return None
        if self.sdd_mm is None or self.pixel_pitch_mm is None:
            raise CameraError(
                ErrorCode.CAMERA_MISSING, '--sdd and --pixel-pitch are needed together'
            )
        return Camera.from_geometry(self.sdd_mm, self.pixel_pitch_mm, size, self.principal_point)


@dataclass(frozen=True)
class XRayFile:
    """An X-ray with its camera.

    Attributes:
        path: of the image.
        xray: the image with the camera.
        fixed_from_camera: where the camera is (mm); None if that is not known.
        lens: distortion of the image, which `view` rectifies; None if it has none.
    """

    path: Path
    xray: XRay
    fixed_from_camera: Float64[Tensor, '4 4'] | None = None
    lens: Lens | None = None

    def warnings(self, intensity: str | None) -> tuple[str, ...]:
        """Return what had to be assumed, for the option --intensity as it was given."""
        pixels = self.xray.pixels
        if intensity or self.xray.warnings or bool((pixels == pixels.round()).all()):
            return self.xray.warnings
        return (
            f'{self.path.name} holds fractions, taken as detector counts: if they are line '
            'integrals, give --intensity line_integral',
        )

    def view(self, intensity: str | None) -> View:
        """Return the X-ray as line integrals; raises RegistrationError."""
        xray = self.xray
        assert xray.camera is not None, 'read_xrays gives every X-ray a camera'
        model = IntensityModel(cast(IntensityKind, intensity)) if intensity else xray.intensity
        with named(self.path):
            lens = None if self.lens is None else (self.lens, xray.camera.K)
            integrals, mask = prepare_xray(xray.pixels, model, mask=xray.mask, lens=lens)
            return View(integrals, xray.camera, mask, self.fixed_from_camera)


def read_xrays(paths: tuple[Path, ...], beam: BeamOptions, frame: int) -> tuple[XRayFile, ...]:
    """Load X-rays with their cameras; raises RegistrationError, naming the file."""
    cameras: tuple[Path | None, ...] = beam.camera_paths or (None,) * len(paths)
    if len(cameras) != len(paths):
        raise CameraError(
            ErrorCode.CAMERA_MISSING,
            f'{len(paths)} X-rays and {len(cameras)} cameras: give --camera once for each --xray, '
            'in the same order',
        )
    return tuple(_read(path, c, beam, frame) for path, c in zip(paths, cameras, strict=True))


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Say in errors which of several files is meant."""
    try:
        yield
    except RegistrationError as error:
        if path.name in str(error):
            raise
        raise type(error)(error.code, f'{path.name}: {error}') from None


def _read(path: Path, camera_path: Path | None, beam: BeamOptions, frame: int) -> XRayFile:
    stated = None if camera_path is None else read_camera(camera_path)
    camera = None if stated is None else stated.camera
    with named(path):
        given = camera is not None or beam.has_distances
        xray = load_xray(path, frame=frame, geometry=not given)
        if given:
            height, width = xray.pixels.shape
            xray = replace(xray, camera=camera or beam.camera_by_distances((height, width)))
        if xray.camera is None:
            raise CameraError(
                ErrorCode.CAMERA_MISSING,
                'the X-ray file has no geometry: give --camera FILE, or --sdd MM and --pixel-pitch '
                'ROW COLUMN',
            )
    if stated is None:
        return XRayFile(path, xray)
    return XRayFile(path, xray, stated.fixed_from_camera, stated.lens)
