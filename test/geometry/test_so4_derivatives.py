"""Derivatives of the distance of rotations of four-space, in every mode of torch."""

import pytest
import torch
from quaternion_pairs import CUT, pairs, pairs_at

from sph_reg_ros.geometry import quaternion, so4

DTYPES = [torch.float32, torch.float64]


def test_the_gradient_of_half_the_squared_distance_is_minus_four_logarithms():
    for a, b in ((1e-6, 1e-6), (0.3, 1.0), (CUT - 1e-3, 0.0)):
        first, second = pairs_at(a, b)
        second.requires_grad_()
        (gradient,) = torch.autograd.grad(so4.squared_distance(first, second).sum() / 2, second)
        target = so4.nearer_sign(first, second)[:, None, None] * first
        cosine = (second * target).sum(-1, keepdim=True)
        angle = torch.tensor([[a], [b]], dtype=torch.float64)
        sine = torch.where(angle == 0, 1.0, torch.sin(angle))
        log = torch.where(angle == 0, 1.0, angle / sine) * (target - cosine * second)
        assert torch.allclose(gradient, -4 * log.detach(), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize(
    ('a', 'b'), [(0.0, 0.0), (1e-6, 1e-6), (1.0, 0.4), (2.0, CUT - 2.001), (CUT / 2 - 5e-4,) * 2]
)
def test_derivatives_are_exact_from_equal_pairs_to_the_cut_locus(a, b):
    inputs = [pair.requires_grad_() for pair in pairs_at(a, b, 1)]
    for function in (so4.residual, so4.squared_distance):
        assert torch.autograd.gradcheck(function, inputs, check_forward_ad=True)
    assert torch.autograd.gradcheck(lambda x, y: so4.distance(x, y, eps=0.01), inputs)
    assert torch.autograd.gradgradcheck(so4.squared_distance, inputs)


@pytest.mark.parametrize(('a', 'b'), [(CUT - 1e-3, 0.0), (CUT - 1e-3, CUT - 1e-3)])
def test_derivatives_with_a_kept_sign_are_exact_up_to_the_antipodes(a, b):
    moving, fixed = (pair.requires_grad_() for pair in pairs_at(a, b, 1))
    sign = torch.ones(1, dtype=torch.float64)

    def kept(moving, fixed):
        return so4.residual(moving, fixed, sign)

    assert torch.autograd.gradcheck(kept, [moving, fixed], check_forward_ad=True)


def test_the_derivative_of_the_distance_itself_is_exact_at_a_millionth():
    inputs = [pair.requires_grad_() for pair in pairs_at(1e-6, 1e-6, 1)]
    assert torch.autograd.gradcheck(so4.distance, inputs, eps=1e-9, atol=1e-3)


def equal(dtype: torch.dtype) -> list[torch.Tensor]:
    return [pairs(4).to(dtype)] * 2


def opposite(dtype: torch.dtype) -> list[torch.Tensor]:
    p_turned = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    return [pairs(4).to(dtype), (pairs(4) * p_turned).to(dtype)]


def far(dtype: torch.dtype) -> list[torch.Tensor]:
    return [pairs(4).to(dtype), pairs(4, seed=1).to(dtype)]


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('make', [equal, opposite, far])
@pytest.mark.parametrize('function', [so4.residual, so4.squared_distance, so4.distance])
def test_all_of_torch_func_gives_the_same_finite_derivatives(function, make, dtype):
    inputs = make(dtype)
    batched = function(*inputs)
    assert batched.dtype == dtype
    assert torch.allclose(torch.func.vmap(function)(*inputs), batched)
    for order in (torch.func.jacrev, torch.func.jacfwd):
        J = torch.func.vmap(order(function, argnums=(0, 1)))(*inputs)
        assert all(torch.isfinite(part).all() for part in J)
        if make is equal and function is not so4.residual:
            assert not any(part.any() for part in J)
    backward, forward = (
        torch.func.vmap(order(function))(*inputs)
        for order in (torch.func.jacrev, torch.func.jacfwd)
    )
    assert backward.dtype == forward.dtype == dtype
    assert torch.allclose(backward, forward, atol=1e-5 if dtype == torch.float32 else 1e-12)


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('angle', [0.0, 1e-15, 1e-7, 1e-5])
def test_the_squared_distance_has_its_second_derivative_at_equal_and_nearly_equal_pairs(
    angle, dtype
):
    first = torch.tensor([[1.0, 0, 0, 0]] * 2, dtype=dtype)
    second = quaternion.exp(torch.full((2, 3), angle, dtype=dtype))
    hessian = torch.func.hessian(lambda y: so4.squared_distance(first, y))(second)
    # 8 in each of the three directions of each sphere, none along its radius.
    expected = torch.tensor([0.0, 0, 8, 8, 8, 8, 8, 8], dtype=dtype)
    found = torch.linalg.eigvalsh(hessian.reshape(8, 8))
    assert torch.allclose(found, expected, atol=1e-3)
