"""X-rays from files, with the cameras that belong to them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.cli.camera_file import read_camera
from sph_reg_ros.errors import CameraError, ErrorCode, RegistrationError, require_setting
from sph_reg_ros.imaging.load import load_xray
from sph_reg_ros.imaging.xray.given_geometry import GivenGeometry
from sph_reg_ros.imaging.xray.intensity import (
    IntensityKind,
    IntensityModel,
    negative,
    offset_warning,
)
from sph_reg_ros.imaging.xray.lens import Lens
from sph_reg_ros.imaging.xray.rectify import rectified_points
from sph_reg_ros.imaging.xray.xray_image import XRay
from sph_reg_ros.plausible import require_possible
from sph_reg_ros.registration.prepared_view import ViewMaker
from sph_reg_ros.registration.view import View

FLIPS = {'horizontal': (1,), 'vertical': (0,), 'both': (0, 1)}
"""Axes of an image that a display mirrors."""


@dataclass(frozen=True)
class BeamOptions:
    """Cameras of X-rays: one file for each, or distances in mm and principal point (column, row).

    A DICOM X-ray's own geometry counts where nothing is given.
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

    def given(
        self, angles_deg: tuple[float, float] | None = None, sod_mm: float | None = None
    ) -> GivenGeometry:
        """Return the distances with C-arm angles (degrees) and source-isocentre distance (mm)."""
        return GivenGeometry(
            self.sdd_mm, self.pixel_pitch_mm, self.principal_point, angles_deg, sod_mm
        )


@dataclass(frozen=True)
class XRayFile:
    """An X-ray with its camera.

    Attributes:
        path: of the image.
        xray: the image with the camera.
        fixed_from_camera: where the camera is (mm); None if that is not known.
        lens: distortion of the image, which `view` rectifies; None if it has none.
        flip: how the picture in the file is mirrored against `xray`, one of FLIPS; None if not.
    """

    path: Path
    xray: XRay
    fixed_from_camera: Float64[Tensor, '4 4'] | None = None
    lens: Lens | None = None
    flip: str | None = None

    def warnings(self, intensity: str | None) -> tuple[str, ...]:
        """Return what had to be assumed, given the option --intensity."""
        pixels, stated = self.xray.pixels, self.xray.intensity
        model = IntensityModel(cast(IntensityKind, intensity)) if intensity else stated
        warnings = self.xray.warnings + offset_warning(pixels, model, self.xray.mask)
        if intensity or warnings or bool((pixels == pixels.round()).all()):
            return warnings
        return (
            f'{self.path.name} holds fractions, taken as detector counts: if they are line '
            'integrals, give --intensity line_integral',
        )

    def mirrored(self, flip: str | None) -> 'XRayFile':
        """Return the X-ray mirrored back, if the picture is mirrored against what K describes.

        Camera and lens stay: they are of the image as the detector has it.

        Args:
            flip: one of FLIPS; None leaves it as it is.

        Raises:
            ConfigError: it is none of them.
        """
        if flip is None:
            return self
        require_setting(flip in FLIPS, f'--flip {flip!r} must be one of {", ".join(FLIPS)}')
        pixels, mask = self.xray.pixels.flip(FLIPS[flip]), self.xray.mask.flip(FLIPS[flip])
        return replace(self, xray=replace(self.xray, pixels=pixels, mask=mask), flip=flip)

    def pixels_in_view(self, points: Float64[np.ndarray, 'N 2']) -> Float64[np.ndarray, 'N 2']:
        """Return where points (column, row) of the picture in the file lie in the view."""
        assert self.xray.camera is not None, 'read_xrays gives every X-ray a camera'
        points = points.copy()
        for axis in FLIPS[self.flip] if self.flip else ():
            # Axis 1 of an image is the first coordinate of its points.
            points[:, 1 - axis] = self.xray.pixels.shape[axis] - 1 - points[:, 1 - axis]
        if self.lens is None:
            return points
        return rectified_points(points, self.xray.camera.K, self.lens)

    def view(
        self, intensity: str | None, inverted: bool | None = None, *, mask_saturation: bool = True
    ) -> View:
        """Return the X-ray as line integrals.

        Args:
            intensity: what the pixels are; what the file says if None.
            inverted: whether they are a negative of that; found out by the CT if None.
            mask_saturation: leave clipped pixels out.

        Raises:
            RegistrationError: the X-ray cannot be used.
        """
        xray = self.xray
        assert xray.camera is not None, 'read_xrays gives every X-ray a camera'
        model = IntensityModel(cast(IntensityKind, intensity)) if intensity else xray.intensity
        pixels, model = negative(xray.pixels, model) if inverted else (xray.pixels, model)
        make_view = ViewMaker(model, inverted is not None, mask_saturation)
        with named(self.path):
            return make_view(
                pixels,
                xray.camera,
                mask=xray.mask,
                lens=self.lens,
                fixed_from_camera=self.fixed_from_camera,
            )


def read_xrays(
    paths: tuple[Path, ...],
    beam: BeamOptions,
    frame: int,
    angles_deg: tuple[float, float] | None = None,
    sod_mm: float | None = None,
) -> tuple[XRayFile, ...]:
    """Load X-rays with their cameras.

    Args:
        paths: of the X-rays.
        beam: cameras, or what completes those of DICOM files.
        frame: of a file with several.
        angles_deg: C-arm angles of the first X-ray; its own if None.
        sod_mm: source-isocentre distance of the first X-ray; its own if None.

    Raises:
        RegistrationError: names the file.
    """
    cameras: tuple[Path | None, ...] = beam.camera_paths or (None,) * len(paths)
    if len(cameras) != len(paths):
        raise CameraError(
            ErrorCode.CAMERA_MISSING,
            f'{len(paths)} X-rays and {len(cameras)} cameras: give --camera once for each --xray, '
            'in the same order',
        )
    first, others = beam.given(angles_deg, sod_mm), beam.given()
    given = (first, *(others for _ in paths[1:]))
    files = zip(paths, cameras, given, strict=True)
    return tuple(_read(path, camera, known, frame) for path, camera, known in files)


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Add the file name to errors where there are several files."""
    try:
        yield
    except RegistrationError as error:
        if path.name in str(error):
            raise
        raise type(error)(error.code, f'{path.name}: {error}') from None


def _read(path: Path, camera_path: Path | None, given: GivenGeometry, frame: int) -> XRayFile:
    stated = None if camera_path is None else read_camera(camera_path)
    with named(path):
        xray = load_xray(path, frame=frame, geometry=stated is None, given=given)
        if stated is not None:
            xray = replace(xray, camera=stated.camera)
        if xray.camera is None:
            alone = given.sdd_mm is not None or given.pixel_pitch_mm is not None
            raise CameraError(
                ErrorCode.CAMERA_MISSING,
                '--sdd and --pixel-pitch are needed together, as the X-ray file has no geometry'
                if alone
                else 'the X-ray file has no geometry: give --camera FILE, or --sdd MM and '
                '--pixel-pitch ROW COLUMN',
            )
        # Here, as the file is named and the CT is not read yet.
        require_possible(xray.camera.K, xray.camera.size)
    if stated is None:
        return XRayFile(path, xray)
    return XRayFile(path, xray, stated.fixed_from_camera, stated.lens)
