import math

import pytest
import torch
from network_sizes import TINY_ENCODER

from sph_reg_ros.geometry import so4
from sph_reg_ros.networks.encoder_config import HEADS
from sph_reg_ros.networks.heads import SHORT, SO4Head, SphereHead, head_for


def raw(seed: int, count: int = 5) -> torch.Tensor:
    return torch.randn(count, 24, generator=torch.Generator().manual_seed(seed)).double()


def at_angle(angle: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return two unit vectors with an angle between them."""
    basis = torch.linalg.qr(raw(0).T).Q.T
    return basis[0], math.cos(angle) * basis[0] + math.sin(angle) * basis[1]


def heads():
    from dataclasses import replace

    return {name: head_for(replace(TINY_ENCODER, head=name)).double() for name in HEADS}


@pytest.mark.parametrize('name', HEADS)
def test_the_same_features_have_no_residual_and_a_finite_derivative(name):
    head, x = heads()[name], raw(0).requires_grad_()
    residual = head.residual(head.project(x), head.project(x.detach()))
    assert residual.shape == (5, 18 if name == 'so4' else 24)
    assert residual.abs().max() < 1e-12
    (slope,) = torch.autograd.grad(residual.sum(), x)
    assert torch.isfinite(slope).all()


def test_so4_distances_are_the_weighted_mean_over_pairs():
    head = SO4Head(3).double()
    torch.nn.init.normal_(head.log_weights, generator=torch.Generator().manual_seed(2))
    first, second = head.project(raw(0)), head.project(raw(1))
    assert first.shape == (5, 3, 2, 4)
    torch.testing.assert_close(first.norm(dim=-1), torch.ones(5, 3, 2).double())
    each = so4.squared_distance(first, second)
    expected = (each * head.log_weights.softmax(0)).sum(-1)
    torch.testing.assert_close(head.squared_distance(first, second), expected)


@pytest.mark.parametrize('angle', [0.0, 1e-7, 1e-3, 0.49, 0.51, 2.0, 3.1, math.pi - 2e-3])
def test_the_residual_on_the_sphere_is_as_long_as_the_angle(angle):
    fixed, moving = at_angle(angle)
    residual = SphereHead().residual(moving, fixed)
    assert float(residual.norm()) == pytest.approx(angle, rel=1e-9, abs=1e-12)
    assert abs(float(residual @ fixed)) < 1e-9


def test_opposite_points_of_the_sphere_stay_finite():
    fixed, _ = at_angle(0.0)
    moving = (-fixed).requires_grad_()
    residual = SphereHead().residual(moving, fixed)
    (slope,) = torch.autograd.grad(residual.sum(), moving)
    assert torch.isfinite(residual).all() and torch.isfinite(slope).all()


@pytest.mark.parametrize('name', HEADS)
def test_the_squared_distance_is_that_of_the_residual(name):
    head = heads()[name]
    features = head.project(raw(0)), head.project(raw(1))
    expected = head.residual(*features).square().sum(-1)
    torch.testing.assert_close(head.squared_distance(*features), expected)
    torch.testing.assert_close(head.squared_distance(*reversed(features)), expected)


def test_quaternions_start_as_long_as_they_will_be():
    offset = heads()['so4'].start(raw(0)[0]).reshape(6, 4)
    assert offset.norm(dim=-1).tolist() == pytest.approx([1] * 6)
    # The rotation that changes nothing, which is how the nominal pose is embedded.
    assert offset[:, 0].tolist() == pytest.approx([1] * 6)
    assert not heads()['sphere'].start(raw(0)[0]).any()


def test_only_vectors_that_are_scaled_to_unit_length_may_be_too_short():
    short = 0.01 * torch.nn.functional.normalize(raw(0).unflatten(-1, (6, 4)), dim=-1)
    short = short.flatten(-2)
    expected = 6 * (SHORT - 0.01) ** 2
    assert heads()['so4'].shortness(short).tolist() == pytest.approx([expected] * 5)
    assert heads()['so4'].shortness(100 * short).tolist() == [0.0] * 5
    assert heads()['sphere'].shortness(short).min() > 0
    assert not heads()['euclidean'].shortness(0 * short).any()
