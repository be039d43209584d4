import math

import pytest
import torch
from network_sizes import TINY_ENCODER

from sph_reg_ros.geometry import so4
from sph_reg_ros.networks.encoder_config import HEADS
from sph_reg_ros.networks.heads import SHORT, SO4Head, SphereHead, head_for


def raw(seed: int, count: int = 5, numbers: int = 24) -> torch.Tensor:
    """Four pairs of the head so4, or three times eight numbers."""
    return torch.randn(count, numbers, generator=torch.Generator().manual_seed(seed)).double()


def at_angle(angle: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return two unit vectors with an angle between them."""
    basis = torch.linalg.qr(raw(0).T).Q.T
    return basis[0], math.cos(angle) * basis[0] + math.sin(angle) * basis[1]


def heads():
    from dataclasses import replace

    return {name: head_for(replace(TINY_ENCODER, head=name, pairs=4)).double() for name in HEADS}


@pytest.mark.parametrize('name', HEADS)
def test_the_same_features_have_no_residual_and_a_finite_derivative(name):
    head, x = heads()[name], raw(0).requires_grad_()
    residual = head.residual(head.project(x), head.project(x.detach()))
    assert residual.shape == (5, 24)
    assert residual.abs().max() < 1e-12
    (slope,) = torch.autograd.grad(residual.sum(), x)
    assert torch.isfinite(slope).all()


def test_so4_distances_are_the_weighted_mean_over_pairs():
    head = SO4Head(4).double()
    torch.nn.init.normal_(head.log_weights, generator=torch.Generator().manual_seed(2))
    first, second = head.project(raw(0)), head.project(raw(1))
    assert first.shape == (5, 4, 2, 4)
    torch.testing.assert_close(first.norm(dim=-1), torch.ones(5, 4, 2).double())
    each = so4.squared_distance(first, second)
    expected = (each * head.log_weights.softmax(0)).sum(-1)
    torch.testing.assert_close(head.squared_distance(first, second), expected)


def test_slopes_by_the_pose_are_weighted_as_residuals_are():
    head = SO4Head(2).double()
    torch.nn.init.normal_(head.log_weights, generator=torch.Generator().manual_seed(2))
    first, second = (0.3 * raw(seed, numbers=12) for seed in (0, 1))
    first, second = head.project(first), head.project(second)
    slopes = head.pose_slopes(first, second)
    assert slopes.shape == (5, 12, 6)
    plain = so4.residual_slopes(first, second).flatten(1, 2)
    ratio = head.residual(first, second) / so4.residual(first, second).flatten(1)
    torch.testing.assert_close(slopes, ratio[..., None] * plain)


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


def test_only_a_vector_that_is_scaled_to_unit_length_may_be_too_short():
    short = 0.01 * torch.nn.functional.normalize(raw(0), dim=-1)
    assert heads()['sphere'].shortness(short).tolist() == pytest.approx([(SHORT - 0.01) ** 2] * 5)
    assert heads()['sphere'].shortness(100 * short).tolist() == [0.0] * 5
    for name in ('so4', 'euclidean'):
        assert not heads()[name].shortness(0 * short).any()


def test_no_numbers_at_all_are_the_rotation_that_changes_nothing():
    """Which is how the nominal pose is embedded."""
    pairs = heads()['so4'].project(torch.zeros(1, 18).double())
    assert torch.equal(pairs, torch.tensor([1.0, 0, 0, 0]).double().expand(1, 3, 2, 4))
