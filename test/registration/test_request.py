"""What a request refuses, each with its code."""

import math

import pytest
import torch
from phantoms import pose_in_front, smooth_phantom

from sph_reg_ros.errors import ErrorCode, RegistrationError
from sph_reg_ros.geometry import Camera
from sph_reg_ros.registration.request import RegistrationRequest, View

CAMERA = Camera.from_geometry(1000.0, (1.5, 1.5), (16, 20))
IMAGE = torch.rand(16, 20, generator=torch.Generator().manual_seed(0))


def with_nan(image: torch.Tensor) -> torch.Tensor:
    damaged = image.clone()
    damaged[3, 4] = math.nan
    return damaged


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
    ],
)
def test_a_request_that_does_not_fit_together_is_refused(views, pose, code):
    volume = smooth_phantom()
    with pytest.raises(RegistrationError) as error:
        RegistrationRequest(volume, views, pose_in_front(volume) if pose is None else pose)
    assert error.value.code == code
