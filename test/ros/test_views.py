"""Where a registration starts."""

import numpy as np
import pytest

from sph_reg_ros.errors import ErrorCode, PoseError
from sph_reg_ros.ros.views import FramedPose, XRayView, initial_camera_from_ct


def shift(*offset: float) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, 3] = offset
    return matrix


IMAGER = FramedPose('base', shift(0, 0, 100))
PIXELS, K = np.zeros((2, 2), np.uint8), np.eye(3)
VIEW = XRayView(1, 'imager', PIXELS, K, IMAGER)


def test_a_pose_in_the_imager_frame_is_taken_as_it_is():
    pose = FramedPose('imager', shift(1, 2, 3))
    assert np.array_equal(initial_camera_from_ct(pose, VIEW), pose.matrix)


def test_a_pose_in_the_fixed_frame_is_seen_from_the_imager():
    start = initial_camera_from_ct(FramedPose('base', shift(1, 2, 103)), VIEW)
    assert np.allclose(start, shift(1, 2, 3))


def test_without_a_pose_there_is_no_start():
    assert initial_camera_from_ct(None, VIEW) is None


@pytest.mark.parametrize(
    ('pose', 'view', 'code'),
    [
        (FramedPose('elsewhere', np.eye(4)), VIEW, ErrorCode.POSE_INVALID),
        (
            FramedPose('base', np.eye(4)),
            XRayView(1, 'imager', PIXELS, K),
            ErrorCode.IMAGER_POSE_MISSING,
        ),
    ],
)
def test_a_pose_that_cannot_be_related_to_the_image_is_refused(pose, view, code):
    with pytest.raises(PoseError) as caught:
        initial_camera_from_ct(pose, view)
    assert caught.value.code == code
