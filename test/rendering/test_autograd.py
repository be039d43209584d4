"""Back-propagation through the fast renderers against torch's own through the reference."""

import pytest
import torch
from render_scenes import BACKENDS, SCENES, Scene, on_device_of, relative_rms

from sph_reg_ros.geometry import se3
from sph_reg_ros.rendering.cpu import backend
from sph_reg_ros.rendering.reference import torch_backend
from sph_reg_ros.rendering.render import render

NAMES = ('anisotropic with a mirrored axis', 'oblique directions', 'source inside the volume')


def weights(view: Scene, images: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(images, *view.camera.size, generator=generator, dtype=torch.float64)


def pose_gradient(backend: str, view: Scene, parameters: torch.Tensor) -> torch.Tensor:
    """Return the derivative of a weighted sum of pixels by the six numbers of se3.exp."""
    parameters = parameters.clone().requires_grad_()
    volume = on_device_of(backend, view.volume)
    image = render(
        volume, se3.exp(parameters), view.camera.K, view.camera.size, backend=backend
    ).cpu()
    (weights(view, len(parameters)) * image).sum().backward()
    return parameters.grad


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('backend', BACKENDS)
def test_gradients_by_pose_parameters_agree_with_the_reference(backend, name):
    view = SCENES[name]
    parameters = se3.log(view.camera_from_ct)[None]
    gradient = pose_gradient(backend, view, parameters)
    expected = pose_gradient('torch', view, parameters)
    assert relative_rms(gradient, expected) < 1e-3
    assert torch.allclose(gradient, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().min()))


@pytest.mark.parametrize('backend', BACKENDS)
def test_every_pose_of_a_batch_gets_its_own_gradient(backend):
    view = SCENES[NAMES[0]]
    start = se3.log(view.camera_from_ct)
    batch = torch.stack([start, start + torch.tensor([0.1, 0, 0.2, 5.0, 0, -9.0])])
    gradient, expected = (pose_gradient(name, view, batch) for name in (backend, 'torch'))
    assert relative_rms(gradient[0], expected[0]) < 1e-3
    assert relative_rms(gradient[1], expected[1]) < 1e-3


@pytest.mark.parametrize('backend', BACKENDS)
def test_gradients_reach_a_float32_pose_in_float32(backend):
    view = SCENES[NAMES[0]]
    pose = view.camera_from_ct.float().requires_grad_()
    volume = on_device_of(backend, view.volume)
    image = render(volume, pose, view.camera.K, view.camera.size, backend=backend)
    image.sum().backward()
    assert pose.grad.dtype == torch.float32 and bool((pose.grad[:3] != 0).any())
    assert bool((pose.grad[3] == 0).all())


@pytest.mark.parametrize('grad_mode', ['no graph wanted', 'no gradient required'])
def test_no_jacobian_is_made_where_no_gradient_is_needed(monkeypatch, grad_mode):
    monkeypatch.setattr(backend, 'render_with_jacobian', None)
    view = SCENES[NAMES[0]]
    pose = view.camera_from_ct.clone().requires_grad_(grad_mode == 'no graph wanted')
    with torch.set_grad_enabled(grad_mode == 'no gradient required'):
        image = render(view.volume, pose, view.camera.K, view.camera.size, backend='numba')
    assert not image.requires_grad


def test_a_second_derivative_of_a_fast_renderer_is_refused():
    view = SCENES[NAMES[0]]
    pose = view.camera_from_ct.clone().requires_grad_()
    image = render(view.volume, pose, view.camera.K, view.camera.size, backend='numba')
    (gradient,) = torch.autograd.grad(image.square().sum(), pose, create_graph=True)
    with pytest.raises(RuntimeError, match='once_differentiable'):
        gradient.sum().backward()


def test_the_reference_is_twice_differentiable():
    view = SCENES['one row of pixels']
    start = se3.log(view.camera_from_ct)

    def image(twist: torch.Tensor) -> torch.Tensor:
        pose = se3.exp(start + twist)[None]
        return torch_backend.render(view.volume, pose, view.camera.K, (1, 2), None).sum()

    zero = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(image, zero, eps=1e-7, atol=1e-4, rtol=1e-3)
