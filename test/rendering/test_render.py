"""The renderers against analytic integrals, against differences, and against each other."""

import importlib.util

import pytest
import torch
from phantoms import AFFINE, box_phantom, pose_in_front, smooth_phantom

from sph_reg_ros.errors import ConfigError, ErrorCode
from sph_reg_ros.geometry import Camera, se3
from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.rendering.render import (
    TWIST_LENGTH_MM,
    render,
    render_with_jacobian,
    resolve_backend,
)

CAMERA = Camera.from_geometry(1000.0, (4.0, 5.0), (33, 26), principal_point=(10.0, 18.0))
IMAGE_TOLERANCE = 1e-4
JACOBIAN_TOLERANCE = 1e-3

needs_diffdrr = pytest.mark.skipif(
    importlib.util.find_spec('diffdrr') is None, reason='diffdrr is not installed'
)


def relative_rms(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a.double() - b.double()).norm() / b.double().norm())


def thin(volume: AttenuationVolume) -> AttenuationVolume:
    return AttenuationVolume(volume.mu[12:13].contiguous(), volume.ct_from_index)


def inside_the_volume(volume: AttenuationVolume) -> torch.Tensor:
    return pose_in_front(volume, distance_mm=4.0)


SCENES = {
    'anisotropic, mirrored axis, off-centre': (smooth_phantom(), 700.0, CAMERA),
    'isotropic': (smooth_phantom((20, 20, 20), torch.eye(4).double()), 700.0, CAMERA),
    'mirrored and turned image': (
        smooth_phantom(), 700.0, CAMERA.rotate90(1).flip(horizontal=True),
    ),
    'rays that miss': (smooth_phantom(), 700.0, CAMERA.crop(-40, -40, 90, 90)),
    'source inside the volume': (smooth_phantom(), 4.0, CAMERA),
    'one voxel thin': (thin(smooth_phantom()), 700.0, CAMERA),
}  # fmt: skip


@pytest.mark.parametrize('backend', ['numba', 'torch'])
def test_a_ray_through_a_box_measures_its_thickness(backend):
    affine = torch.diag(torch.tensor([2.0, 1.5, 3.0, 1.0], dtype=torch.float64))
    volume = box_phantom(0.02, (30, 40, 50), affine)
    turn = se3.from_parts(torch.eye(3).double(), torch.tensor([0, 0, 900.0]) - volume.centre)
    camera = Camera.from_geometry(1000.0, (0.1, 0.1), (3, 3))
    image = render(volume, turn, camera.K, camera.size, backend=backend, step_mm=0.02)
    # Interpolation to the zeros around adds half a voxel at each end.
    assert float(image[1, 1]) == pytest.approx(0.02 * 30 * 3.0, rel=1e-4)


@needs_diffdrr
def test_siddon_measures_the_same_box():
    affine = torch.diag(torch.tensor([2.0, 1.5, 3.0, 1.0], dtype=torch.float64))
    volume = box_phantom(0.02, (30, 40, 50), affine)
    turn = se3.from_parts(torch.eye(3).double(), torch.tensor([0, 0, 900.0]) - volume.centre)
    camera = Camera.from_geometry(1000.0, (0.1, 0.1), (3, 3))
    image = render(volume, turn, camera.K, camera.size, backend='diffdrr')
    assert float(image[1, 1]) == pytest.approx(0.02 * 30 * 3.0, rel=1e-4)


@needs_diffdrr
def test_siddon_shows_the_phantom_where_the_sampling_renderers_do():
    volume = smooth_phantom(
        (48, 80, 72), AFFINE @ torch.diag(torch.tensor([0.5, 0.5, 0.5, 1]).double())
    )
    pose = pose_in_front(volume)
    expected = render(volume, pose, CAMERA.K, CAMERA.size, backend='numba', step_mm=0.2)
    image = render(volume, pose, CAMERA.K, CAMERA.size, backend='diffdrr')
    assert relative_rms(image, expected) < 0.01


@pytest.mark.parametrize('name', SCENES)
def test_numba_agrees_with_the_reference(name):
    volume, distance, camera = SCENES[name]
    pose = pose_in_front(volume, distance)
    image, jacobian = render_with_jacobian(volume, pose, camera.K, camera.size, backend='numba')
    expected, expected_jacobian = render_with_jacobian(
        volume, pose, camera.K, camera.size, backend='torch'
    )
    assert float(expected.abs().max()) > 0
    assert float((image - expected).abs().max()) < IMAGE_TOLERANCE * float(expected.max())
    for column in range(6):
        error = relative_rms(jacobian[..., column], expected_jacobian[..., column])
        assert error < JACOBIAN_TOLERANCE, f'column {column}: {error:.2e}'


@pytest.mark.parametrize('name', SCENES)
def test_the_jacobian_is_the_derivative_of_the_image(name):
    volume, distance, camera = SCENES[name]
    pose, h = pose_in_front(volume, distance), 3e-8
    _, jacobian = render_with_jacobian(volume, pose, camera.K, camera.size, backend='torch')
    for column in range(6):
        twist = torch.zeros(6, dtype=torch.float64)
        twist[column] = h * (TWIST_LENGTH_MM if column > 2 else 1)
        ahead, behind = (
            render(volume, se3.apply_twist(sign * twist, pose, volume.centre), camera.K,
                   camera.size, backend='torch')
            for sign in (1, -1)
        )  # fmt: skip
        error = relative_rms(jacobian[..., column], (ahead - behind) / (2 * h))
        assert error < 2e-6, f'column {column}: {error:.2e}'


@pytest.mark.parametrize('backend', ['numba', 'torch'])
def test_image_alone_and_image_with_jacobian_are_the_same_image(backend):
    volume = smooth_phantom()
    pose = pose_in_front(volume)
    alone = render(volume, pose, CAMERA.K, CAMERA.size, backend=backend)
    image, _ = render_with_jacobian(volume, pose, CAMERA.K, CAMERA.size, backend=backend)
    assert torch.equal(alone, image)


@pytest.mark.parametrize('backend', ['numba', 'torch'])
def test_a_batch_of_poses_renders_as_one_by_one(backend):
    volume = smooth_phantom()
    poses = torch.stack([pose_in_front(volume, d, (a, 0.1, 0.2)) for d, a in [(600, 0), (700, 1)]])
    images, jacobians = render_with_jacobian(volume, poses, CAMERA.K, CAMERA.size, backend=backend)
    for pose, image, jacobian in zip(poses, images, jacobians, strict=True):
        one, one_jacobian = render_with_jacobian(
            volume, pose, CAMERA.K, CAMERA.size, backend=backend
        )
        assert torch.equal(image, one) and torch.equal(jacobian, one_jacobian)
    assert not torch.equal(images[0], images[1])


def test_torch_backpropagates_the_jacobian_to_the_pose():
    volume = smooth_phantom()
    pose = pose_in_front(volume)
    twist = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    image = render(
        volume, se3.apply_twist(twist, pose, volume.centre), CAMERA.K, CAMERA.size, backend='torch'
    )
    weights = torch.rand(CAMERA.size, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((weights * image).sum(), twist)
    _, jacobian = render_with_jacobian(volume, pose, CAMERA.K, CAMERA.size, backend='torch')
    expected = torch.einsum('hw,hwc->c', weights, jacobian)
    expected[3:] /= TWIST_LENGTH_MM
    assert torch.allclose(gradient, expected, rtol=1e-6)


def test_storing_the_volume_with_flipped_axes_changes_nothing():
    volume = smooth_phantom()
    flip = torch.eye(4, dtype=torch.float64)
    flip[0, 0], flip[0, 3] = -1, volume.shape[2] - 1
    flipped = AttenuationVolume(volume.mu.flip(2).contiguous(), volume.ct_from_index @ flip)
    pose = pose_in_front(volume)
    image, flipped_image = (
        render(v, pose, CAMERA.K, CAMERA.size, backend='numba') for v in (volume, flipped)
    )
    assert relative_rms(flipped_image, image) < 1e-5


def test_a_finer_step_converges():
    volume = smooth_phantom()
    pose = pose_in_front(volume)
    fine = render(volume, pose, CAMERA.K, CAMERA.size, step_mm=0.02)
    errors = [
        relative_rms(render(volume, pose, CAMERA.K, CAMERA.size, step_mm=step), fine)
        for step in (2.0, 1.0, 0.25)
    ]
    assert errors[0] > errors[2] and errors[2] < 1e-3


def test_auto_names_the_backend_that_it_picks():
    assert resolve_backend('auto', smooth_phantom()) == 'numba'


def test_an_unknown_backend_is_refused():
    with pytest.raises(ConfigError, match='none of') as error:
        resolve_backend('cuda', smooth_phantom())
    assert error.value.code == ErrorCode.CONFIG_INVALID


def test_diffdrr_is_refused_where_a_derivative_is_needed():
    volume = smooth_phantom()
    with pytest.raises(ConfigError) as error:
        render_with_jacobian(
            volume, pose_in_front(volume), CAMERA.K, CAMERA.size, backend='diffdrr'
        )
    assert error.value.code == ErrorCode.BACKEND_UNAVAILABLE


@pytest.mark.parametrize('backend', ['numba', 'torch'])
@pytest.mark.parametrize('step', [0.0, -1.0, float('nan')])
def test_a_step_that_is_not_positive_is_refused(backend, step):
    volume = smooth_phantom()
    with pytest.raises(ConfigError):
        render(volume, pose_in_front(volume), CAMERA.K, CAMERA.size, backend=backend, step_mm=step)
