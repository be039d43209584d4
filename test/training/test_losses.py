import math

import pytest
import torch
from phantoms import pose_in_front, smooth_phantom
from render_scenes import CAMERA

from sph_reg_ros.geometry import se3, so4
from sph_reg_ros.geometry.se3 import TWIST_LENGTH_MM
from sph_reg_ros.rendering.render import render, render_with_jacobian
from sph_reg_ros.training import losses

VOLUME = smooth_phantom((12, 20, 18))
POSE = pose_in_front(VOLUME)


def small_poses(count: int, scale: float = 0.05, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    twists = scale * torch.randn(count, 6, generator=generator, dtype=torch.float64)
    twists[:, 3:] *= TWIST_LENGTH_MM
    return se3.apply_twist(twists, POSE, VOLUME.centre)


def moved(xi: torch.Tensor, poses: torch.Tensor) -> torch.Tensor:
    twist = torch.cat([xi[..., :3], TWIST_LENGTH_MM * xi[..., 3:]], -1)
    return se3.apply_twist(twist, poses, VOLUME.centre)


def in_so4(poses: torch.Tensor, reference: torch.Tensor = POSE) -> torch.Tensor:
    return so4.pose_embedding(poses, reference, VOLUME.centre)


def true_residual(
    moving: torch.Tensor, fixed: torch.Tensor, reference: torch.Tensor = POSE
) -> torch.Tensor:
    return so4.residual(in_so4(moving, reference), in_so4(fixed, reference))


def test_the_value_loss_is_0_where_distances_agree_and_grows_linearly_far_away():
    true_mm = torch.tensor([5.0, 50.0, 50.0, 50.0])
    learned_mm = torch.tensor([5.0, 50.0, 130.0, 170.0])
    learned_sq = (learned_mm / losses.MM_PER_DISTANCE).square()
    found = losses.value_loss(learned_sq, true_mm, unit_mm=40.0)
    assert found[:2].abs().max() < 1e-5
    assert found[3] - found[2] == pytest.approx(1.0, abs=1e-3)


def test_the_value_loss_has_a_slope_where_images_are_encoded_alike():
    learned_sq = torch.zeros(1, requires_grad=True)
    losses.value_loss(learned_sq, torch.tensor([10.0])).sum().backward()
    assert torch.isfinite(learned_sq.grad).all() and learned_sq.grad < 0


def test_the_ratio_loss_is_0_where_distances_agree_and_weighs_far_and_near_errors_by_their_share():
    true_sq = (torch.tensor([[4.0, 400.0, 4000.0]]) / losses.MM_PER_DISTANCE).square()
    assert losses.ratio_loss(true_sq, true_sq).abs().max() < 1e-10
    tenth_more = (true_sq * 1.1**2).split(1, -1)
    near, far, farther = (
        float(losses.ratio_loss(found, true, 40.0))
        for found, true in zip(tenth_more, true_sq.split(1, -1), strict=True)
    )
    assert near < 0.05 * far
    assert farther == pytest.approx(far, rel=0.2)


def test_the_direction_loss_ignores_lengths_and_is_4_for_each_opposite_part():
    g = torch.randn(7, 6, generator=torch.Generator().manual_seed(1))
    scaled = torch.cat([3.0 * g[:, :3], 0.1 * g[:, 3:]], -1)
    assert losses.direction_loss(scaled, g).abs().max() < 1e-10
    assert torch.allclose(losses.direction_loss(-g, g), torch.full((7,), 8.0))
    half = torch.cat([-g[:, :3], g[:, 3:]], -1)
    assert torch.allclose(losses.direction_loss(half, g), torch.full((7,), 4.0))


def test_a_part_without_a_true_direction_does_not_count():
    g = torch.ones(1, 6)
    true = torch.tensor([[0.0, 0, 0, 1, 1, 1]])
    assert losses.direction_loss(g, true) == pytest.approx(0.0, abs=1e-10)
    zero = torch.zeros(1, 6, requires_grad=True)
    losses.direction_loss(zero, g).sum().backward()
    assert torch.isfinite(zero.grad).all()


def test_the_vector_loss_is_0_where_every_pair_has_the_residual_of_the_poses():
    true = true_residual(small_poses(4), small_poses(4, seed=1))
    same = true[:, None].expand(4, 3, 6)
    assert losses.vector_loss(same, true).abs().max() == 0
    assert (losses.vector_loss(same.roll(1, -1), true) > 1e-4).all()


def test_the_secant_loss_is_that_of_the_relative_error_of_a_step():
    true = true_residual(small_poses(4), small_poses(4, seed=1))
    same = true[:, None].expand(4, 3, 6)
    assert losses.secant_loss(same, true).max() < 1e-12
    for size in (1.0, 1e-3):
        found = losses.secant_loss(1.5 * size * same, size * true)
        assert found.tolist() == pytest.approx([math.log1p(0.25)] * 4, rel=1e-3)


def test_the_true_distance_of_small_displacements_is_that_of_the_twist():
    xi = 0.01 * torch.randn(9, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    residual = true_residual(moved(xi, POSE), POSE.expand(9, 4, 4))
    mm = losses.MM_PER_DISTANCE * residual.norm(dim=-1)
    lengths = torch.tensor([so4.EMBEDDING_LENGTH_MM] * 3 + [TWIST_LENGTH_MM] * 3)
    assert torch.allclose(mm, (lengths * xi).norm(dim=-1), rtol=1e-3)


def test_the_true_gradient_is_the_derivative_of_half_the_squared_distance():
    moving, fixed = small_poses(3), small_poses(3, seed=1)

    def energy(xi: torch.Tensor) -> torch.Tensor:
        residual = true_residual(moved(xi, moving), fixed)
        return residual.square().sum(-1) / 2

    h = 1e-5
    slopes = [(energy(h * e) - energy(-h * e)) / (2 * h) for e in torch.eye(6).double()]
    found = losses.true_gradient(moving, in_so4(fixed), POSE, VOLUME.centre)
    assert torch.allclose(found, torch.stack(slopes, -1), rtol=1e-5, atol=1e-7)


def test_the_conditioning_loss_of_the_poses_own_residual_is_0_at_equal_poses():
    pose = small_poses(1)

    def residual(xi: torch.Tensor) -> torch.Tensor:
        return true_residual(moved(xi, pose[0])[None], pose, pose[0])[0]

    J = torch.func.jacrev(residual)(torch.zeros(6, dtype=torch.float64))
    assert losses.conditioning_loss(J[None]) < 1e-12
    blind = J * torch.tensor([1.0, 1, 1, 1, 1, 0.1], dtype=torch.float64)
    assert losses.conditioning_loss(blind[None]) > 1.0


def test_the_image_loss_ignores_gain_and_offset_and_is_1_for_a_constant_image():
    image = torch.rand(2, 9, 8, generator=torch.Generator().manual_seed(3))
    assert losses.image_loss(2 * image + 5, image).abs().max() < 1e-5
    constant = torch.zeros(2, 9, 8, requires_grad=True)
    found = losses.image_loss(constant, image)
    assert torch.allclose(found, torch.ones(2))
    found.sum().backward()
    assert torch.isfinite(constant.grad).all()


def similarity(weights: torch.Tensor):
    """A curved function of images with as many weights as pixels."""
    return lambda images: (
        torch.tanh((images * weights).sum((-2, -1))).square()
        + ((images.square() * weights.roll(1)).sum((-2, -1)).sin())
    )


def test_gradient_and_its_derivative_by_weights_are_those_of_two_passes_through_the_renderer():
    """Fact 5: with nothing learned before the renderer, its own second derivative drops out."""
    generator = torch.Generator().manual_seed(4)
    weights = 0.1 * torch.randn(*CAMERA.size, generator=generator, dtype=torch.float64)
    wanted = torch.randn(3, 6, generator=generator, dtype=torch.float64)
    poses = small_poses(3, 0.02)

    first = weights.clone().requires_grad_()
    xi = torch.zeros(3, 6, dtype=torch.float64, requires_grad=True)
    images = render(VOLUME, moved(xi, poses), CAMERA.K, CAMERA.size, backend='torch')
    values = similarity(first)(images)
    (through,) = torch.autograd.grad(values.sum(), xi, create_graph=True)
    losses.direction_loss(through, wanted).sum().backward()

    second = weights.clone().requires_grad_()
    images, jacobians = render_with_jacobian(
        VOLUME, poses, CAMERA.K, CAMERA.size, backend='torch', without_ray_motion=False
    )
    assert images.dtype == torch.float64
    found_values, found = losses.pose_gradient(similarity(second), images, jacobians)
    losses.direction_loss(found, wanted).sum().backward()

    assert torch.allclose(found_values, values, rtol=1e-9)
    assert torch.allclose(
        found, through, rtol=1e-6, atol=1e-9 * float(through.detach().abs().max())
    )
    assert first.grad.norm() > 0
    assert torch.allclose(second.grad, first.grad, rtol=1e-5, atol=1e-8)


def test_a_gradient_for_measuring_keeps_nothing_to_back_propagate():
    poses = small_poses(2)
    images, jacobians = render_with_jacobian(VOLUME, poses, CAMERA.K, CAMERA.size)
    weights = torch.full(CAMERA.size, 0.3, requires_grad=True)
    with torch.no_grad():
        _, gradient = losses.pose_gradient(similarity(weights), images, jacobians, False)
    assert not gradient.requires_grad and gradient.abs().max() > 0
    assert math.isfinite(float(gradient.sum()))
