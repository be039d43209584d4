"""What a request refuses, each with its code."""

import math

import pytest
import torch
from phantoms import pose_in_front, smooth_phantom

from sph_reg_ros.errors import ErrorCode, PoseError, RegistrationError
from sph_reg_ros.geometry import Camera
from sph_reg_ros.registration.register import register
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.view import View

CAMERA = Camera.from_geometry(1000.0, (1.5, 1.5), (16, 20))
IN_METRES = Camera.from_geometry(1.0, (1.5, 1.5), (16, 20))
IMAGE = torch.rand(16, 20, generator=torch.Generator().manual_seed(0))


def with_nan(image: torch.Tensor) -> torch.Tensor:
    damaged = image.clone()
    damaged[3, 4] = math.nan
    return damaged


def place_of_camera(distance_mm: float) -> torch.Tensor:
    place = torch.eye(4, dtype=torch.float64)
    place[0, 3] = distance_mm
    return place


def empty_mask() -> torch.Tensor:
    return torch.zeros(16, 20, dtype=torch.bool)


@pytest.mark.parametrize(
    ('make', 'code'),
    [
        (lambda: View(IMAGE.T, CAMERA), ErrorCode.CAMERA_IMAGE_MISMATCH),
        (lambda: View(with_nan(IMAGE), CAMERA), ErrorCode.IMAGE_CONTENT),
        (lambda: View(torch.ones(16, 20), CAMERA), ErrorCode.IMAGE_CONTENT),
        (lambda: View(IMAGE, CAMERA, empty_mask()), ErrorCode.IMAGE_CONTENT),
        (lambda: View(IMAGE, CAMERA, empty_mask().T), ErrorCode.IMAGE_LAYOUT),
        (lambda: View(IMAGE, CAMERA, None, 2 * torch.eye(4)), ErrorCode.POSE_INVALID),
        (lambda: View(IMAGE, CAMERA, None, place_of_camera(1.2)), ErrorCode.POSE_INVALID),
    ],
)
def test_a_view_that_cannot_be_used_is_refused(make, code):
    with pytest.raises(RegistrationError) as error:
        make()
    assert error.value.code == code


@pytest.mark.parametrize(
    ('views', 'pose', 'code'),
    [
        ((), None, ErrorCode.IMAGE_CONTENT),
        ((View(IMAGE, CAMERA),) * 2, None, ErrorCode.IMAGER_POSE_MISSING),
        ((View(IMAGE, CAMERA),), torch.zeros(4, 4), ErrorCode.POSE_INVALID),
        ((View(IMAGE, IN_METRES),), None, ErrorCode.CAMERA_INVALID),
    ],
)
def test_a_request_that_does_not_fit_together_is_refused(views, pose, code):
    volume = smooth_phantom()
    with pytest.raises(RegistrationError) as error:
        RegistrationRequest(volume, views, pose_in_front(volume) if pose is None else pose)
    assert error.value.code == code


def test_the_camera_of_the_shared_frame_may_be_at_its_origin():
    View(IMAGE, CAMERA, None, place_of_camera(1e-6))
    View(IMAGE, CAMERA, None, place_of_camera(800.0))


def test_a_start_in_metres_is_refused_at_once_with_that_question():
    volume = smooth_phantom(affine=torch.diag(torch.tensor([2.0, 2, 2, 1])).double())
    start = pose_in_front(volume)
    start[:3, 3] /= 1000
    asked = RegistrationRequest(volume, (View(IMAGE, CAMERA),), start)
    with pytest.raises(PoseError, match='inside the CT.*metres') as error:
        register(asked)
    assert error.value.code == ErrorCode.POSE_INVALID


def test_a_start_in_metres_outside_the_ct_gets_the_same_question():
    volume = smooth_phantom()
    start = pose_in_front(volume)
    start[:3, 3] = start[:3, 3] / 1000
    with pytest.raises(PoseError, match='origin of the CT.*metres'):
        register(RegistrationRequest(volume, (View(IMAGE, CAMERA),), start))
