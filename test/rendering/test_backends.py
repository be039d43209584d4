"""Every fast renderer against the reference, and the reference against differences."""

import pytest
import torch
from render_scenes import BACKENDS, CAMERA, SCENES, Scene, on_device_of, relative_rms, scene

from sph_reg_ros.geometry import Camera, se3
from sph_reg_ros.geometry.se3 import TWIST_LENGTH_MM
from sph_reg_ros.rendering.render import render, render_with_jacobian

IMAGE_TOLERANCE = 1e-4
JACOBIAN_TOLERANCE = 1e-3
DIFFERENCE_TOLERANCE = 1e-6
# The same sums in another order.
SAME = 1e-6


def rendered(backend: str, view: Scene, poses: torch.Tensor | None = None) -> tuple:
    volume = on_device_of(backend, view.volume)
    poses = view.camera_from_ct if poses is None else poses
    image, jacobian = render_with_jacobian(
        volume,
        poses,
        view.camera.K,
        view.camera.size,
        backend=backend,
        without_ray_motion=False,
        scan_depth_mm=view.camera.scan_depth_mm,
    )
    assert image.device == volume.device == jacobian.device
    return image.cpu(), jacobian.cpu()


def image_of(backend: str, view: Scene, camera: Camera) -> torch.Tensor:
    volume = on_device_of(backend, view.volume)
    return render(
        volume,
        view.camera_from_ct,
        camera.K,
        camera.size,
        backend=backend,
        scan_depth_mm=camera.scan_depth_mm,
    ).cpu()


@pytest.mark.parametrize('name', SCENES)
@pytest.mark.parametrize('backend', BACKENDS)
def test_image_and_jacobian_agree_with_the_reference(backend, name):
    view = SCENES[name]
    image, jacobian = rendered(backend, view)
    expected, expected_jacobian = rendered('torch', view)
    assert image.shape == view.camera.size and jacobian.shape == (*view.camera.size, 6)
    assert image.dtype == jacobian.dtype == torch.float32
    assert relative_rms(image, expected) < IMAGE_TOLERANCE
    for column in range(6):
        error = relative_rms(jacobian[..., column], expected_jacobian[..., column])
        assert error < JACOBIAN_TOLERANCE, f'column {column}: {error:.2e}'


@pytest.mark.parametrize('name', SCENES)
def test_the_reference_jacobian_is_the_derivative_of_the_image(name):
    view, h = SCENES[name], 3e-8
    _, jacobian = rendered('torch', view)
    for column in range(6):
        twist = torch.zeros(6, dtype=torch.float64)
        twist[column] = h * (TWIST_LENGTH_MM if column > 2 else 1)
        ahead, behind = (
            render(
                view.volume,
                se3.apply_twist(sign * twist, view.camera_from_ct, view.volume.centre),
                view.camera.K,
                view.camera.size,
                backend='torch',
                scan_depth_mm=view.camera.scan_depth_mm,
            )
            for sign in (1, -1)
        )
        error = relative_rms(jacobian[..., column], (ahead - behind) / (2 * h))
        assert error < DIFFERENCE_TOLERANCE, f'column {column}: {error:.2e}'


def test_the_scene_in_which_some_rays_miss_has_both_kinds():
    image, _ = rendered('torch', SCENES['some rays miss'])
    assert bool((image == 0).any()) and bool((image > 0).any())


@pytest.mark.parametrize('backend', ['torch', *BACKENDS])
@pytest.mark.parametrize(
    'view', [scene(distance_mm=-700.0), scene(camera=CAMERA.crop(500, 0, 13, 9))],
    ids=['behind the source', 'beside the detector'],
)  # fmt: skip
def test_a_volume_out_of_view_leaves_image_and_jacobian_empty(backend, view):
    image, jacobian = rendered(backend, view)
    assert torch.equal(image, torch.zeros_like(image))
    assert torch.equal(jacobian, torch.zeros_like(jacobian))


@pytest.mark.parametrize('backend', ['torch', *BACKENDS])
def test_image_alone_and_image_with_jacobian_are_the_same_image(backend):
    view = scene()
    alone = image_of(backend, view, view.camera)
    assert relative_rms(alone, rendered(backend, view)[0]) < SAME


@pytest.mark.parametrize('backend', ['torch', *BACKENDS])
def test_a_batch_of_poses_renders_as_one_by_one(backend):
    view = scene()
    twists = torch.tensor([[0, 0, 0, 0, 0, 0], [0.2, 0.1, -0.3, 20, 0, -90]], dtype=torch.float64)
    poses = se3.apply_twist(twists, view.camera_from_ct.expand(2, 4, 4), view.volume.centre)
    images, jacobians = rendered(backend, view, poses)
    for pose, image, jacobian in zip(poses, images, jacobians, strict=True):
        one, one_jacobian = rendered(backend, view, pose)
        assert relative_rms(image, one) < SAME
        assert relative_rms(jacobian, one_jacobian) < SAME
    assert relative_rms(images[0], images[1]) > 0.01


@pytest.mark.parametrize('backend', BACKENDS)
def test_no_poses_give_no_images(backend):
    images = render(
        on_device_of(backend, scene().volume),
        torch.zeros(0, 4, 4, dtype=torch.float64),
        CAMERA.K,
        CAMERA.size,
        backend=backend,
    )
    assert images.shape == (0, *CAMERA.size)


@pytest.mark.parametrize('backend', ['torch', *BACKENDS])
def test_a_coarser_camera_renders_what_the_finer_one_sees_at_the_same_points(backend):
    # Every third pixel's centre of the fine image is a pixel's centre of the coarse one.
    view, camera = scene(), CAMERA.rescale(15, 12)
    fine = image_of(backend, view, camera)
    coarse = image_of(backend, view, camera.rescale(5, 4))
    assert relative_rms(coarse, fine[1::3, 1::3]) < 1e-5


@pytest.mark.parametrize('backend', ['torch', *BACKENDS])
def test_a_cropped_camera_renders_the_cropped_image(backend):
    view = scene()
    part = image_of(backend, view, view.camera.crop(2, 3, 7, 5))
    assert relative_rms(part, image_of(backend, view, view.camera)[2:9, 3:8]) < 1e-5


@pytest.mark.parametrize('backend', ['torch', *BACKENDS])
def test_a_turned_and_mirrored_camera_renders_the_turned_and_mirrored_image(backend):
    view = scene()
    turned = image_of(backend, view, view.camera.rotate90(1).flip(horizontal=True))
    expected = torch.rot90(image_of(backend, view, view.camera)).flip(1)
    assert relative_rms(turned, expected) < 1e-5
