"""The reader of xray, with all parsing of DICOM in a child process."""

from dataclasses import asdict, replace
from pathlib import Path

import torch

from sph_reg_ros.errors import ErrorCode, ImageError
from sph_reg_ros.geometry import Camera
from sph_reg_ros.imaging.sandbox.child_process import (
    GIBIBYTE,
    ChildError,
    Limits,
    Report,
    run_child,
)
from sph_reg_ros.imaging.xray.given_geometry import NOTHING_GIVEN, GivenGeometry
from sph_reg_ros.imaging.xray.intensity import IntensityModel
from sph_reg_ros.imaging.xray.read import load_xray as load_in_process
from sph_reg_ros.imaging.xray.read import other_reader
from sph_reg_ros.imaging.xray.xray_image import XRay


def load_xray(
    path: Path, *, frame: int = 0, geometry: bool = True, given: GivenGeometry = NOTHING_GIVEN
) -> XRay:
    """Read an X-ray as xray.load_xray does; a DICOM file is read by a child process.

    Args:
        path: file.
        frame: see xray.load_xray.
        geometry: read the camera of a DICOM file, or make one of what was given; it is None
            otherwise.
        given: see xray.load_xray.

    Raises:
        ImageError: as from xray.load_xray; IMAGE_UNREADABLE also if the child crashed or took too
            long.
        CameraError: as from xray.load_xray.
    """
    # Not by DICOM's mark: a file without it is read as DICOM, too.
    if other_reader(path) is not None:
        return load_in_process(path, frame=frame, given=given if geometry else NOTHING_GIVEN)
    limits = Limits.for_input(path.stat().st_size, 1, base_bytes=16 * GIBIBYTE)
    arguments = {
        'path': str(path.absolute()),
        'frame': frame,
        'geometry': geometry,
        'given': asdict(given),
    }
    try:
        return _xray(run_child('load_xray', arguments, limits))
    except ChildError as error:
        raise ImageError(
            ErrorCode.IMAGE_UNREADABLE, f'{path.name} cannot be read: {error}: export it again'
        ) from None


def _xray(report: Report) -> XRay:
    values = report.values
    *matrices, pixels, mask = (torch.from_numpy(array) for array in report.arrays)
    pose = matrices.pop() if values['has_pose'] else None
    intensity = IntensityModel(**values['intensity'])
    xray = XRay(
        pixels, mask, None, pose, values['patient_hash'], intensity, tuple(values['warnings'])
    )
    if not values['has_camera']:
        return xray
    return replace(xray, camera=Camera(matrices[0], *pixels.shape))
