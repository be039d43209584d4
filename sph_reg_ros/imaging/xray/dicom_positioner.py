"""C-arm angles of a frame."""

import math

from pydicom import Dataset

from sph_reg_ros.errors import CameraError, ErrorCode
from sph_reg_ros.imaging.dicom.tags import read_number, read_numbers, read_word, tag_label


def positioner_angles(dataset: Dataset, frame: int) -> tuple[float, float] | None:
    """Return (primary, secondary) in rad of a frame; None if the file has no C-arm angles.

    An increment is either one value, the change a frame, or one value a frame, the offset from the
    first angle (DICOM PS3.3 C.8.7.5.1.3).

    Raises:
        CameraError: the number of increments is neither one nor the number of frames.
    """
    if read_word(dataset, 'PositionerType') not in ('', 'CARM'):
        return None
    angles = []
    for keyword in ('PositionerPrimaryAngle', 'PositionerSecondaryAngle'):
        angle = read_number(dataset, keyword)
        if angle is None:
            return None
        angles.append(angle + _increment(dataset, f'{keyword}Increment', frame))
    primary = math.remainder(angles[0], 360.0)
    return math.radians(primary), math.radians(angles[1])


def _increment(dataset: Dataset, keyword: str, frame: int) -> float:
    if read_word(dataset, 'PositionerMotion') == 'STATIC':
        return 0.0
    increments = read_numbers(dataset, keyword)
    frames = int(read_number(dataset, 'NumberOfFrames') or 1)
    if not increments:
        return 0.0
    if len(increments) == 1:
        return increments[0] * frame
    if len(increments) != frames:
        raise CameraError(
            ErrorCode.CAMERA_INVALID,
            f'{tag_label(keyword)} has {len(increments)} values for {frames} frames',
        )
    return increments[frame]
