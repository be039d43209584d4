"""Unit quaternions against matrices and against their own definitions."""

import math

import pytest
import torch
from quaternion_pairs import random, unit

from sph_reg_ros.geometry import quaternion, so3

ANGLES = [0.0, 1e-9, 1e-6, 9.9e-5, 1.01e-4, 0.1, 1.0, 2.0, 3.0, math.pi - 1e-3, math.pi - 1e-6]


def test_the_product_is_associative_and_keeps_the_length():
    a, b, c = unit(3, 50, 4)
    left = quaternion.product(quaternion.product(a, b), c)
    assert torch.allclose(left, quaternion.product(a, quaternion.product(b, c)), atol=1e-15)
    assert torch.allclose(left.norm(dim=-1), torch.ones(50).double(), atol=1e-14)


def test_the_units_multiply_as_hamilton_cut_them():
    one, i, j, k = torch.eye(4, dtype=torch.float64)
    assert torch.equal(quaternion.product(i, j), k)
    assert torch.equal(quaternion.product(j, k), i)
    assert torch.equal(quaternion.product(k, i), j)
    assert torch.equal(quaternion.product(quaternion.product(i, j), k), -one)


def test_a_quaternion_times_its_conjugate_is_one():
    q = unit(20, 4)
    one = torch.eye(4, dtype=torch.float64)[0].expand(20, 4)
    assert torch.allclose(quaternion.product(q, quaternion.conjugate(q)), one, atol=1e-15)


def test_the_quaternion_of_a_product_of_rotations_is_the_product_up_to_sign():
    R1, R2 = so3.exp(random(2, 100, 3))
    expected = quaternion.product(quaternion.from_matrix(R1), quaternion.from_matrix(R2))
    found = quaternion.from_matrix(R1 @ R2)
    assert bool((found[:, 0] >= 0).all())
    assert torch.allclose(found, expected * torch.sign(expected[:, :1]), atol=1e-14)


@pytest.mark.parametrize('angle', ANGLES)
def test_half_the_rotation_vector_is_the_logarithm_of_the_quaternion(angle):
    omega = angle * torch.cat([unit(10, 3), torch.eye(3).double(), -torch.eye(3).double()])
    assert torch.allclose(quaternion.log(quaternion.from_matrix(so3.exp(omega))), omega / 2)
    assert torch.allclose(quaternion.exp(omega / 2), quaternion.from_matrix(so3.exp(omega)))


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('angle', ANGLES)
def test_the_logarithm_undoes_the_exponential_on_the_whole_sphere(angle, dtype):
    v = (angle * unit(20, 3)).to(dtype)
    q = quaternion.exp(v)
    assert q.dtype == dtype
    # Near -1 the direction is as uncertain as rounding is large against sin(angle).
    rounding = 20 * torch.finfo(dtype).eps / max(math.sin(angle), 1e-6) if angle > 1 else 0
    tolerance = 20 * torch.finfo(dtype).eps * max(angle, 1e-30) + 4 * rounding
    assert float((quaternion.log(q) - v).norm(dim=-1).max()) <= tolerance


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_minus_one_is_half_a_great_circle_away_and_has_finite_derivatives(dtype):
    tiny = torch.finfo(dtype).eps
    offsets = [[0.0] * 3, [1e-30] * 3, [tiny] * 3, [0.0, 10 * tiny, 0.0]]
    q = torch.cat([-torch.ones(4, 1), torch.tensor(offsets)], -1).to(dtype).requires_grad_()
    v = quaternion.log(q)
    assert torch.allclose(v.norm(dim=-1), torch.full((4,), math.pi, dtype=dtype))
    v.sum().backward()
    assert torch.isfinite(q.grad).all()


def test_a_quaternion_without_length_gives_finite_values():
    q = torch.zeros(4, requires_grad=True)
    quaternion.log(q).sum().backward()
    assert torch.isfinite(quaternion.log(q)).all() and torch.isfinite(q.grad).all()


@pytest.mark.parametrize('angle', [0.0, 1e-6, 1e-4, 1.0, math.pi - 1e-3])
def test_exponential_and_logarithm_have_exact_derivatives_in_both_directions(angle):
    v = (angle * unit(3)).requires_grad_()
    for function, at in ((quaternion.exp, v), (quaternion.log, quaternion.exp(v.detach()))):
        at = at.detach().requires_grad_()
        assert torch.autograd.gradcheck(function, at, check_forward_ad=True)


def test_second_derivatives_are_exact_too():
    v = (0.7 * unit(3)).requires_grad_()
    assert torch.autograd.gradgradcheck(quaternion.exp, v)
    for angle in (0.0, 0.7, 2.0):
        q = quaternion.exp(angle * unit(3)).requires_grad_()
        assert torch.autograd.gradgradcheck(quaternion.log, q)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_derivatives_of_a_single_value_keep_the_precision_in_every_mode(dtype):
    v = (0.3 * unit(3)).to(dtype)
    q, R = quaternion.exp(v), so3.exp(v)
    cases = ((quaternion.exp, v), (quaternion.log, q), (quaternion.from_matrix, R), (so3.log, R))
    for function, at in cases:
        backward, forward = (
            order(function)(at) for order in (torch.func.jacrev, torch.func.jacfwd)
        )
        assert backward.dtype == forward.dtype == dtype
        assert torch.allclose(backward, forward, atol=1e-5 if dtype == torch.float32 else 1e-14)
