"""Whether a start can show anything."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from phantoms import pose_in_front, smooth_phantom

from sph_reg_ros.errors import ErrorCode, SolverError
from sph_reg_ros.geometry import Camera, se3
from sph_reg_ros.registration.visibility import require_in_view
from sph_reg_ros.rendering.render import render

VOLUME = smooth_phantom()
CAMERA = Camera.from_geometry(1000.0, (4.0, 4.0), (40, 48))


def is_refused(pose) -> bool:
    try:
        require_in_view(VOLUME, pose, CAMERA, 'it')
    except SolverError as error:
        assert error.code == ErrorCode.NO_OVERLAP
        return True
    return False


@given(st.tuples(*[st.floats(-150, 150)] * 3), st.tuples(*[st.floats(-3, 3)] * 3))
def test_a_start_that_shows_anything_is_never_refused(shift, rotation):
    pose = pose_in_front(VOLUME, 500.0, rotation)
    pose[:3, 3] += torch.tensor(shift, dtype=torch.float64)
    image = render(VOLUME, pose, CAMERA.K, CAMERA.size, backend='torch')
    if is_refused(pose):
        assert float(image.max()) == 0


@pytest.mark.parametrize('shift', [(300, 0, 0), (-300, 0, 0), (0, 300, 0), (0, -300, 0)])
def test_a_start_beside_the_image_is_refused(shift):
    pose = pose_in_front(VOLUME, 500.0)
    assert not is_refused(pose)
    pose[:3, 3] += torch.tensor(shift, dtype=torch.float64)
    assert is_refused(pose)


def test_a_start_behind_the_source_is_refused_and_one_around_it_is_not():
    assert is_refused(pose_in_front(VOLUME, -500.0))
    assert not is_refused(pose_in_front(VOLUME, 0.0))


def test_a_refused_start_is_told_where_it_lies():
    for depth_mm, words in ((-500.0, 'behind the source'), (0.0, 'reaches behind the source')):
        pose = pose_in_front(VOLUME, depth_mm)
        pose[0, 3] += 500
        with pytest.raises(SolverError, match=words):
            require_in_view(VOLUME, pose, CAMERA, 'it')


def test_the_corners_enclose_the_voxels():
    inside = se3.transform_points(VOLUME.ct_from_index, torch.zeros(1, 3, dtype=torch.float64))
    corners = VOLUME.corners
    assert (corners.amin(0) < inside).all() and (corners.amax(0) > inside).all()
    assert torch.allclose(corners.mean(0), VOLUME.centre)
