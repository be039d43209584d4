"""What imagers can be like: odd ones pass, metres for millimetres do not."""

import numpy as np
import pytest

from sph_reg_ros.errors import CameraError, ErrorCode
from sph_reg_ros.plausible import (
    PIXEL_PITCH_MM,
    SOURCE_DETECTOR_MM,
    SOURCE_PATIENT_MM,
    require_distance,
    require_possible,
)


def intrinsics(sdd, pitch, size, axes=((1, 0), (0, 1))):
    K = np.eye(3)
    K[:2, :2] = np.array(axes) * sdd / np.array(pitch)[::-1, None]
    K[:2, 2] = (size[1] - 1) / 2, (size[0] - 1) / 2
    return K


@pytest.mark.parametrize(
    ('sdd', 'pitch', 'size'),
    [
        (300, (0.1, 0.1), (1200, 1200)),  # a specimen on a small detector
        (300, (0.2, 0.2), (2000, 2000)),  # ... on a large one near the source
        (450, (0.15, 0.15), (1000, 1000)),  # mini C-arm
        (2500, (0.2, 0.2), (3000, 3000)),
        (2500, (0.14, 0.14), (100, 100)),  # a crop
        (980, (1.6, 1.1), (200, 320)),
        (1000, (0.4, 0.2), (240, 640)),  # fields of an interlaced video
    ],
)
@pytest.mark.parametrize('axes', [((1, 0), (0, 1)), ((-1, 0), (0, 1)), ((0, 1), (-1, 0))])
def test_odd_imagers_pass_in_every_orientation(sdd, pitch, size, axes):
    require_possible(intrinsics(sdd, pitch, size, axes), size)


@pytest.mark.parametrize(
    ('sdd', 'pitch'), [(1.02, (1.4, 1.4)), (1020, (0.0014, 0.0014)), (1000, (1.0, 0.3))]
)
def test_mixed_units_and_slabs_are_refused_with_the_figure(sdd, pitch):
    with pytest.raises(CameraError, match='no imager has .* metres') as caught:
        require_possible(intrinsics(sdd, pitch, (256, 256)), (256, 256))
    assert caught.value.code == ErrorCode.CAMERA_INVALID


def test_a_principal_point_far_outside_and_oblique_pixels_are_refused():
    K = intrinsics(1000, (1, 1), (100, 100))
    K[0, 2] = 700
    with pytest.raises(CameraError, match='principal point'):
        require_possible(K, (100, 100))
    K = intrinsics(1000, (1, 1), (100, 100), ((1, 0.9), (0.9, 1)))
    with pytest.raises(CameraError, match='oblique'):
        require_possible(K, (100, 100))


@pytest.mark.parametrize('limits', [SOURCE_DETECTOR_MM, PIXEL_PITCH_MM, SOURCE_PATIENT_MM])
def test_a_distance_in_metres_is_refused_with_that_question(limits):
    for typical in {SOURCE_DETECTOR_MM: (300, 2500), PIXEL_PITCH_MM: (0.1, 3.0)}.get(
        limits, (60, 1500)
    ):
        require_distance('it', typical, limits)
        with pytest.raises(CameraError, match='it is .* mm; .* metres'):
            require_distance('it', typical / 1000, limits)
    require_distance('it', None, limits)
