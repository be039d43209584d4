"""The distance of rotations of four-space: closed form, invariances, cut locus."""

import math

import pytest
import torch
from quaternion_pairs import CUT, pairs, pairs_at, random

from sph_reg_ros.geometry import quaternion, so4


def eigen_distance(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return the Frobenius norm of the logarithm, from the eigenvalues of R1^T R2."""
    eigenvalues = torch.linalg.eigvals(so4.action(first).mT @ so4.action(second))
    return torch.atan2(eigenvalues.imag, eigenvalues.real).norm(dim=-1)


def test_the_action_is_a_rotation_of_four_space():
    R = so4.action(pairs(50))
    assert torch.allclose(R @ R.mT, torch.eye(4).double().expand(50, 4, 4), atol=1e-14)
    assert torch.allclose(torch.det(R), torch.ones(50).double())
    y, (p, q) = random(50, 4, seed=2), pairs(50).unbind(1)
    expected = quaternion.product(quaternion.product(p, y), quaternion.conjugate(q))
    assert torch.allclose((R @ y[..., None])[..., 0], expected, atol=1e-14)


def test_the_action_of_a_relative_pair_is_the_relative_rotation():
    first, second = pairs(20), pairs(20, seed=1)
    expected = so4.action(first).mT @ so4.action(second)
    assert torch.allclose(so4.action(so4.relative(first, second)), expected, atol=1e-14)


def test_the_closed_form_equals_the_logarithm_by_eigenvalues():
    first, second = pairs(2000), pairs(2000, seed=1)
    error = so4.distance(first, second) - eigen_distance(first, second)
    assert float(error.abs().max()) < 1e-12


@pytest.mark.parametrize(
    ('a', 'b'),
    [(0.0, 0.0), (1e-6, 2e-6), (1e-3, 0.0), (1.5, 1.5), (3.0, 0.1), (CUT - 1e-3, 0.0), (0.7, 2.4)],
)
def test_the_distance_is_made_of_the_two_angles_near_zero_and_near_the_cut(a, b):
    first, second = pairs_at(a, b)
    found = so4.distance(first, second)
    expected = torch.full_like(found, 2 * math.hypot(a, b))
    assert torch.allclose(found, expected, rtol=1e-9, atol=1e-14)
    assert torch.allclose(eigen_distance(first, second), expected, atol=1e-12)


def test_the_residual_has_the_norm_of_the_distance():
    for a, b in ((0.0, 0.0), (1e-6, 1e-6), (0.3, 2.0), (CUT - 1e-6, 0.0), (2.0, 2.0)):
        moving, fixed = pairs_at(a, b)
        norm = so4.residual(moving, fixed).norm(dim=-1)
        assert torch.allclose(norm, so4.distance(fixed, moving), rtol=1e-14, atol=1e-15)
        assert torch.allclose(norm.square(), so4.squared_distance(moving, fixed), rtol=1e-12)


def test_the_residual_leads_from_the_fixed_to_the_moving_rotation():
    moving, fixed = pairs(20), pairs(20, seed=1)
    way = quaternion.exp(so4.residual(moving, fixed).reshape(20, 2, 3) / 2)
    reached = so4.action(quaternion.product(fixed, way))
    assert torch.allclose(reached, so4.action(moving), atol=1e-13)


def test_the_distance_does_not_change_under_rotations_on_either_side():
    X, Y, A, B = (pairs(100, seed=seed) for seed in range(4))
    moved = [quaternion.product(quaternion.product(A, Z), B) for Z in (X, Y)]
    assert torch.allclose(so4.distance(*moved), so4.distance(X, Y), rtol=1e-12)


def test_it_is_a_metric():
    X, Y, Z = (pairs(500, seed=seed) for seed in range(3))
    there, back = so4.distance(X, Y), so4.distance(Y, X)
    assert torch.allclose(there, back, rtol=1e-12)
    assert bool((so4.distance(X, Z) <= there + so4.distance(Y, Z) + 1e-12).all())
    assert torch.equal(so4.distance(X, X), torch.zeros(500).double())


def test_no_distance_exceeds_two_pi_and_only_central_reflection_reaches_it():
    X, Y = pairs(2000), pairs(2000, seed=1)
    reflected = X * torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    assert torch.allclose(so4.action(reflected), -so4.action(X))
    assert torch.allclose(so4.distance(X, reflected), torch.full((2000,), 2 * CUT).double())
    assert float(so4.distance(X, Y).max()) < 2 * CUT


@pytest.mark.parametrize('share', [0.0, 0.2, 0.5, 0.8])
def test_at_the_cut_locus_the_two_names_of_a_rotation_are_equally_near(share):
    for beyond in (-1e-6, 1e-6):
        a, b = share * (CUT + beyond), (1 - share) * (CUT + beyond)
        first, second = pairs_at(a, b)
        expected = math.hypot(a, b) if beyond < 0 else math.hypot(CUT - a, CUT - b)
        found = so4.distance(first, second)
        assert torch.allclose(found, torch.full((8,), 2 * expected).double())


def test_the_sign_of_a_pair_changes_nothing():
    X, Y = pairs(100), pairs(100, seed=1)
    assert torch.equal(so4.action(-X), so4.action(X))
    assert torch.equal(so4.residual(-X, Y), so4.residual(X, Y))
    assert torch.equal(so4.residual(X, -Y), so4.residual(X, Y))
    assert torch.equal(so4.nearer_sign(X, -Y), -so4.nearer_sign(X, Y))
    half_turned = Y * torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    assert not torch.allclose(so4.distance(X, half_turned), so4.distance(X, Y))


def test_a_kept_sign_goes_on_smoothly_across_the_cut_locus():
    fixed, before = pairs_at(CUT / 2 - 1e-4, CUT / 2 - 1e-4)
    sign = so4.nearer_sign(fixed, before)
    _, after = pairs_at(CUT / 2 + 1e-4, CUT / 2 + 1e-4)
    start = so4.residual(before, fixed)
    assert float((so4.residual(after, fixed, sign) - start).abs().max()) < 1e-3
    assert float((so4.residual(after, fixed) - start).norm(dim=-1).min()) > 1
    kept = so4.residual(after, fixed, sign).norm(dim=-1)
    assert bool((kept > so4.distance(after, fixed)).all())


@pytest.mark.parametrize(('a', 'b'), [(1e-5, 3e-5), (0.3, 1.0), (1.5, 1.6), (CUT - 0.02, 0.01)])
def test_single_precision_agrees_with_double(a, b):
    first, second = pairs_at(a, b)
    error = so4.residual(first.float(), second.float()) - so4.residual(first, second)
    # Towards the antipode of one half its direction fades as its sine.
    assert float(error.abs().max()) < 4e-6 * max(1, a / math.sin(a))


def test_a_small_length_rounds_the_cone_of_the_distance():
    X = pairs(4)
    assert torch.allclose(so4.distance(X, X, eps=0.1), torch.full((4,), 0.1).double())
    first, second = pairs_at(0.3, 0.4)
    assert torch.allclose(so4.distance(first, second, eps=0.1), torch.tensor(1.01).double().sqrt())
