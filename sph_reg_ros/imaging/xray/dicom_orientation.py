"""How a stored X-ray lies against the camera: turned or mirrored, by PatientOrientation.

The camera looks from the source to the detector. Clinical images are stored as seen by somebody who
faces the patient, which for a C-arm with its receptor over the chest is the other side:
such an image is mirrored against the camera.
"""

from itertools import product

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.errors import CameraError, ErrorCode
from sph_reg_ros.imaging.dicom.tags import tag_label

PixelAxes = Float64[Tensor, '2 2']
"""Directions of columns and of rows (as rows of the matrix) in the camera's x and y."""

_LETTERS = {
    'L': (1.0, 0.0, 0.0),
    'R': (-1.0, 0.0, 0.0),
    'P': (0.0, 1.0, 0.0),
    'A': (0.0, -1.0, 0.0),
    'H': (0.0, 0.0, 1.0),
    'F': (0.0, 0.0, -1.0),
}
# Beam directions (LPS) of the DX view positions that fix one.
_VIEW_BEAMS = {
    'AP': (0.0, 1.0, 0.0),
    'PA': (0.0, -1.0, 0.0),
    'LL': (1.0, 0.0, 0.0),
    'RL': (-1.0, 0.0, 0.0),
}
# The first letter names the axis that a direction is closest to: at least 1/sqrt(3) of it, were
# the angles not rounded.
_SMALLEST_COMPONENT = 0.35


def usual_display_axes() -> PixelAxes:
    """Return the axes of an image shown as if facing the patient, head up: mirrored."""
    return torch.tensor([[-1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)


def axes_from_orientation(
    orientation: tuple[str, ...], camera_from_lps: Float64[Tensor, '3 3']
) -> PixelAxes:
    """Return the one of the eight pixel axes that PatientOrientation describes.

    Args:
        orientation: letters of the direction of a row's pixels and of a column's
            (DICOM PS3.3 C.7.6.1.1.1), e.g. ('L', 'F').
        camera_from_lps: rotation of the camera's nominal pose.

    Raises:
        CameraError: unknown letters, or none of the eight agrees with the C-arm's angles.
    """
    wanted = _directions(orientation) @ camera_from_lps.T
    # The first letters alone, as they must agree with the answer whatever follows them.
    leading = _directions(tuple(word[0] for word in orientation)) @ camera_from_lps.T
    best = max(_all_axes(), key=lambda axes: float((axes * wanted[:, :2]).sum()))
    if float((best * leading[:, :2]).sum(dim=1).min()) < _SMALLEST_COMPONENT:
        raise CameraError(
            ErrorCode.CAMERA_INVALID,
            f'{tag_label("PatientOrientation")} {"/".join(orientation)} contradicts the positioner '
            'angles: correct the file or give the camera yourself',
        )
    return best


def axes_from_view(orientation: tuple[str, ...], view_position: str) -> PixelAxes | None:
    """Return whether an image without a C-arm pose is mirrored; None if nothing tells.

    Without a pose the camera's roll is free: it follows the image's columns, and only the mirroring
    is left to find.

    Raises:
        CameraError: unknown letters, or both directions are along the same axis.
    """
    beam = _VIEW_BEAMS.get(view_position)
    if not orientation and view_position in ('AP', 'PA'):
        orientation = ('L', 'F')
    if beam is None or not orientation:
        return None
    along_row, along_column = _directions(orientation)
    normal = torch.linalg.cross(along_row, along_column)
    handedness = float(normal @ torch.tensor(beam, dtype=torch.float64))
    if abs(handedness) < _SMALLEST_COMPONENT:
        raise CameraError(
            ErrorCode.CAMERA_INVALID,
            f'{tag_label("PatientOrientation")} {"/".join(orientation)} contradicts '
            f'{tag_label("ViewPosition")} {view_position}',
        )
    return torch.diag(torch.tensor([1.0 if handedness > 0 else -1.0, 1.0], dtype=torch.float64))


def _directions(orientation: tuple[str, ...]) -> Float64[Tensor, '2 3']:
    known = len(orientation) == 2 and all(set(word) <= set(_LETTERS) for word in orientation)
    if not known:
        raise CameraError(
            ErrorCode.CAMERA_INVALID,
            f'{tag_label("PatientOrientation")} must be two directions of letters LRAPHF',
        )
    vectors = []
    for word in orientation:
        # Letters come in falling order of weight; the weights themselves are not in the file.
        weighted = [
            torch.tensor(_LETTERS[letter], dtype=torch.float64) / 2**place
            for place, letter in enumerate(word)
        ]
        vector = torch.stack(weighted).sum(dim=0)
        vectors.append(vector / vector.norm())
    return torch.stack(vectors)


def _all_axes() -> list[PixelAxes]:
    unit = torch.eye(2, dtype=torch.float64)
    return [
        torch.stack([a * unit[first], b * unit[1 - first]])
        for first, a, b in product((0, 1), (1.0, -1.0), (1.0, -1.0))
    ]
