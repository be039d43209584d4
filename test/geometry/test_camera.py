"""The camera's pixel maps, checked on images of a projected point."""

from dataclasses import replace

import pytest
import torch

from sph_reg_ros.errors import CameraError, ErrorCode
from sph_reg_ros.geometry import Camera
from sph_reg_ros.rendering.sampling import unit_rays

POINT = torch.tensor([12.0, -7.2, 700.0], dtype=torch.float64)


def camera() -> Camera:
    return Camera.from_geometry(1000.0, (0.8, 1.3), (41, 60), principal_point=(31.0, 17.0))


def dot_image(cam: Camera, point: torch.Tensor) -> torch.Tensor:
    """Return indices as an image with one bright pixel where the point lands."""
    column, row = cam.project(point).round().long().tolist()
    image = torch.zeros(cam.size)
    image[row, column] = 1
    return image


def bright_pixel(image: torch.Tensor) -> list[float]:
    row, column = (image == image.max()).nonzero()[0].tolist()
    return [column, row]


def test_pixel_pitch_is_vertical_first():
    K = camera().K
    assert float(K[0, 0]) == pytest.approx(1000 / 1.3)
    assert float(K[1, 1]) == pytest.approx(1000 / 0.8)


def test_the_principal_ray_hits_the_principal_point():
    hit = camera().project(torch.tensor([0.0, 0.0, 5.0], dtype=torch.float64))
    assert hit.tolist() == [31.0, 17.0]


@pytest.mark.parametrize(
    ('change', 'image_change'),
    [
        (lambda c: c.crop(3, 5, 30, 50), lambda i: i[3:33, 5:55]),
        (lambda c: c.flip(horizontal=True), lambda i: i.flip(1)),
        (lambda c: c.flip(vertical=True), lambda i: i.flip(0)),
        (lambda c: c.rotate90(1), lambda i: torch.rot90(i, 1)),
        (lambda c: c.rotate90(2), lambda i: torch.rot90(i, 2)),
        (lambda c: c.rotate90(-1), lambda i: torch.rot90(i, -1)),
    ],
)
def test_a_point_lands_where_the_changed_image_shows_it(change, image_change):
    cam = camera()
    image = image_change(dot_image(cam, POINT))
    changed = change(cam)
    assert changed.size == tuple(image.shape)
    assert changed.project(POINT).round().tolist() == bright_pixel(image)


def test_rescaling_keeps_the_corners_of_the_field_of_view():
    cam = camera()
    half = cam.rescale(82, 30)
    corners = torch.tensor([[-0.5, -0.5], [59.5, 40.5]], dtype=torch.float64)
    expected = torch.tensor([[-0.5, -0.5], [29.5, 81.5]], dtype=torch.float64)
    rays = torch.cat([corners, torch.ones(2, 1).double()], 1) @ torch.linalg.inv(cam.K).T
    assert torch.allclose(half.project(rays), expected)


def test_rescaling_there_and_back_is_the_identity():
    cam = camera()
    assert torch.allclose(cam.rescale(100, 90).rescale(*cam.size).K, cam.K)


def test_four_quarter_turns_are_the_identity():
    cam = camera()
    turned = cam.rotate90(1).rotate90(1).rotate90(1).rotate90(1)
    assert torch.allclose(turned.K, cam.K) and turned.size == cam.size


def test_focal_length_does_not_depend_on_the_images_orientation():
    cam = camera()
    assert cam.rotate90(1).flip(vertical=True).focal_length == pytest.approx(cam.focal_length)


@pytest.mark.parametrize(
    ('K', 'size', 'code'),
    [
        (torch.zeros(3, 3), (8, 8), ErrorCode.CAMERA_UNCALIBRATED),
        (torch.eye(3) * float('nan'), (8, 8), ErrorCode.CAMERA_INVALID),
        (torch.eye(3), (0, 8), ErrorCode.CAMERA_INVALID),
        (torch.ones(3, 3) + torch.eye(3), (8, 8), ErrorCode.CAMERA_INVALID),
    ],
)
def test_a_camera_that_cannot_be_is_refused_with_its_code(K, size, code):
    with pytest.raises(CameraError) as error:
        Camera(K, *size)
    assert error.value.code == code


def test_a_data_sheet_with_a_zero_is_refused():
    with pytest.raises(CameraError):
        Camera.from_geometry(0.0, (1.0, 1.0), (8, 8))


@pytest.mark.parametrize('turns', [0, 1])
def test_a_line_scan_projects_every_point_of_a_pixels_ray_to_that_pixel(turns):
    cam = replace(camera(), scan_depth_mm=650.0).rotate90(turns).crop(2, -3, 30, 40)
    directions, sources_y = unit_rays(cam.K, cam.size, cam.scan_depth_mm)
    points = 321.0 * directions
    points[..., 1] += sources_y
    rows, columns = torch.meshgrid(torch.arange(30.0), torch.arange(40.0), indexing='ij')
    expected = torch.stack([columns, rows], -1).double()
    assert torch.allclose(cam.project(points), expected, atol=1e-9)


def test_a_line_scan_magnifies_along_x_only():
    cam = replace(camera(), scan_depth_mm=700.0)
    near, far = cam.project(POINT), cam.project(POINT * torch.tensor([1, 1, 1.25]).double())
    assert torch.allclose(near, camera().project(POINT))
    assert float(far[1]) == pytest.approx(float(near[1]))
    assert abs(float(far[0] - 31)) == pytest.approx(abs(float(near[0] - 31)) / 1.25)


def test_a_scan_depth_that_cannot_be_is_refused():
    with pytest.raises(CameraError, match='scan_depth_mm'):
        replace(camera(), scan_depth_mm=-1.0)
