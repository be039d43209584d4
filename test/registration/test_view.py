"""A view as another camera in the same place sees it."""

import pytest
import torch
from phantoms import pose_in_front, smooth_phantom

from sph_reg_ros.errors import CameraError
from sph_reg_ros.geometry import Camera
from sph_reg_ros.imaging.xray.xray_image import XRay
from sph_reg_ros.registration.prepared_view import view_of
from sph_reg_ros.registration.view import View, seen_by
from sph_reg_ros.rendering.render import render

VOLUME = smooth_phantom()
POSE = pose_in_front(VOLUME)
CAMERA = Camera.from_geometry(1000.0, (1.5, 1.5), (96, 96), principal_point=(45.0, 52.0))


def seen(camera: Camera) -> torch.Tensor:
    return render(VOLUME, POSE, camera.K, camera.size, backend='torch').float()


def relative(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


def test_the_same_camera_sees_the_same():
    view = View(seen(CAMERA), CAMERA)
    again = seen_by(view, CAMERA)
    assert torch.allclose(again.line_integrals, view.line_integrals, atol=1e-5)
    assert again.mask.all()


def test_a_camera_of_any_field_distance_and_orientation_sees_what_it_would_render():
    view = View(seen(CAMERA), CAMERA)
    crop = CAMERA.crop(8, 12, 72, 60)
    # A detector 100 mm nearer: rays are the same.
    nearer = Camera.from_geometry(900.0, (2.4, 2.4), (48, 48), principal_point=(23.0, 25.0))
    for camera in (crop, crop.rescale(36, 30), nearer, CAMERA.flip(horizontal=True)):
        other = seen_by(view, camera)
        assert other.mask.float().mean() > 0.9
        assert relative(other.line_integrals[other.mask], seen(camera)[other.mask]) < 0.02


def test_what_the_view_does_not_show_is_masked():
    mask = torch.ones(96, 96, dtype=torch.bool)
    mask[:, :24] = False
    image = torch.where(mask, seen(CAMERA), 1e6)
    wide = CAMERA.crop(-24, -24, 144, 144)
    other = seen_by(View(image, CAMERA, mask), wide)
    expected = torch.zeros(144, 144, dtype=torch.bool)
    expected[24:120, 48:120] = True
    assert torch.equal(other.mask, expected)
    assert relative(other.line_integrals[other.mask], seen(wide)[other.mask]) < 1e-3


def test_an_xray_of_a_file_becomes_what_is_compared():
    counts = (60000 * torch.exp(-seen(CAMERA))).round()
    mask = torch.ones_like(counts, dtype=torch.bool)
    mask[:4] = False
    view = view_of(XRay(counts, mask, CAMERA))
    assert relative(view.line_integrals[view.mask], seen(CAMERA)[view.mask]) < 0.02
    assert not view.mask[:4].any() and view.camera is CAMERA


def test_an_xray_without_camera_is_refused():
    pixels = torch.rand(32, 32)
    with pytest.raises(CameraError, match='no camera'):
        view_of(XRay(pixels, torch.ones_like(pixels, dtype=torch.bool)))
