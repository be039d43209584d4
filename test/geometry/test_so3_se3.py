"""Exponentials, logarithms and their derivatives."""

import math

import pytest
import torch

from sph_reg_ros.errors import ErrorCode, PoseError
from sph_reg_ros.geometry import se3, so3

ANGLES = [0.0, 1e-9, 1e-6, 1e-4, 1e-3, 0.1, 0.9, 1.1, 2.0, 3.0, math.pi - 1e-4, math.pi - 1e-7]
EXACT = 1e-12


def random_axes(count: int = 16) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    axes = torch.randn(count, 3, dtype=torch.float64, generator=generator)
    # Axes along coordinate directions choose every branch of the quaternion formula.
    axes = torch.cat([axes, torch.eye(3, dtype=torch.float64), -torch.eye(3, dtype=torch.float64)])
    return axes / axes.norm(dim=-1, keepdim=True)


def random_twists(angle: float) -> torch.Tensor:
    axes = random_axes()
    generator = torch.Generator().manual_seed(2)
    v = 50 * torch.randn(len(axes), 3, dtype=torch.float64, generator=generator)
    return torch.cat([angle * axes, v], -1)


@pytest.mark.parametrize('angle', ANGLES)
def test_so3_exp_equals_the_matrix_exponential(angle):
    omega = angle * random_axes()
    assert torch.allclose(so3.exp(omega), torch.linalg.matrix_exp(so3.hat(omega)), atol=EXACT)


@pytest.mark.parametrize('angle', ANGLES)
def test_so3_log_undoes_exp_up_to_pi(angle):
    omega = angle * random_axes()
    assert torch.allclose(so3.log(so3.exp(omega)), omega, atol=1e-9)


def test_so3_log_at_exactly_pi_gives_an_axis_of_the_same_rotation():
    omega = math.pi * random_axes()
    R = so3.exp(omega)
    assert torch.allclose(so3.exp(so3.log(R)), R, atol=1e-9)
    assert torch.allclose(so3.log(R).norm(dim=-1), torch.full((len(R),), math.pi).double())


@pytest.mark.parametrize('angle', ANGLES)
def test_se3_exp_equals_the_matrix_exponential(angle):
    twists = random_twists(angle)
    generators = torch.zeros(len(twists), 4, 4, dtype=torch.float64)
    generators[:, :3, :3] = so3.hat(twists[:, :3])
    generators[:, :3, 3] = twists[:, 3:]
    assert torch.allclose(se3.exp(twists), torch.linalg.matrix_exp(generators), atol=1e-10)


@pytest.mark.parametrize('angle', ANGLES)
def test_se3_log_undoes_exp(angle):
    twists = random_twists(angle)
    assert torch.allclose(se3.log(se3.exp(twists)), twists, atol=1e-6)


@pytest.mark.parametrize('angle', ANGLES)
def test_left_jacobian_is_the_derivative_of_exp(angle):
    twists, h = random_twists(angle)[:6], 1e-6
    J = se3.left_jacobian(twists)
    for column in range(6):
        d = torch.zeros(6, dtype=torch.float64)
        d[column] = h
        change = se3.log(se3.exp(twists + d) @ se3.inverse(se3.exp(twists - d))) / (2 * h)
        scale = J[..., column].abs().max()
        assert torch.allclose(J[..., column], change, atol=1e-6 * float(scale))


@pytest.mark.parametrize('angle', ANGLES)
def test_left_jacobian_inverse_is_its_inverse(angle):
    twists = random_twists(angle)
    product = se3.left_jacobian(twists) @ se3.left_jacobian_inverse(twists)
    assert torch.allclose(product, torch.eye(6, dtype=torch.float64).expand_as(product), atol=1e-8)


@pytest.mark.parametrize('angle', [0.0, 1e-6, 0.5, math.pi - 1e-3])
def test_exp_and_log_have_finite_exact_gradients(angle):
    twist = random_twists(angle)[0].requires_grad_()
    assert torch.autograd.gradcheck(se3.exp, twist)
    transform = se3.exp(twist.detach()).requires_grad_()
    assert torch.autograd.gradcheck(se3.log, transform, atol=1e-4, rtol=1e-3)
    assert torch.autograd.gradgradcheck(so3.exp, twist.detach()[:3].requires_grad_())


def test_a_rotation_about_the_centre_leaves_the_centre_where_it_is():
    a_from_b = se3.exp(random_twists(1.2)[0])
    centre = torch.tensor([10.0, -20.0, 30.0], dtype=torch.float64)
    twist = torch.tensor([0.3, -0.2, 0.5, 0.0, 0.0, 0.0], dtype=torch.float64)
    moved = se3.apply_twist(twist, a_from_b, centre)
    before, after = (se3.transform_points(T, centre[None]) for T in (a_from_b, moved))
    assert torch.allclose(before, after, atol=EXACT)
    assert not torch.allclose(moved, a_from_b)


def test_apply_twist_is_the_conjugated_exponential_of_one_pose_and_of_many():
    a_from_b, twist = se3.exp(random_twists(1.2)), random_twists(0.4).flip(0)
    centre = torch.tensor([10.0, -20.0, 30.0], dtype=torch.float64)
    centre_a = se3.transform_points(a_from_b, centre[None])[:, 0]
    eye = torch.eye(3, dtype=torch.float64).expand(len(twist), 3, 3)
    shift = se3.from_parts(eye, centre_a)
    expected = shift @ se3.exp(twist) @ se3.inverse(shift) @ a_from_b
    assert torch.allclose(se3.apply_twist(twist, a_from_b, centre), expected, atol=1e-10)
    assert torch.allclose(se3.apply_twist(twist[1], a_from_b[1], centre), expected[1], atol=1e-10)
    moved = se3.apply_twist(twist, a_from_b[1], centre)
    assert moved.shape == (len(twist), 4, 4)
    assert torch.allclose(moved[1], expected[1], atol=1e-10)


@pytest.mark.parametrize('damage', ['nan', 'scale', 'mirror', 'last row', 'shape'])
def test_a_matrix_that_is_no_rigid_transform_is_refused(damage):
    T = se3.exp(random_twists(0.4)[0])
    if damage == 'nan':
        T[0, 0] = math.nan
    if damage == 'scale':
        T[:3, :3] *= 1.01
    if damage == 'mirror':
        T[:3, 0] *= -1
    if damage == 'last row':
        T[3, 0] = 1
    if damage == 'shape':
        T = T[:3]
    with pytest.raises(PoseError) as error:
        se3.require_rigid(T, 'pose')
    assert error.value.code == ErrorCode.POSE_INVALID
