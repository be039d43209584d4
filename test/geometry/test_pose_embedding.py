"""Poses among the rotations of four-space: what their distance says in mm."""

import math

import pytest
import torch

from sph_reg_ros.geometry import geodesics, se3, so3, so4

L = se3.TWIST_LENGTH_MM
CENTRE = torch.tensor([10.0, -20.0, 30.0], dtype=torch.float64)
NOMINAL = se3.from_parts(
    so3.exp(torch.tensor([0.3, -0.2, 1.0], dtype=torch.float64)),
    torch.tensor([20.0, -30.0, 700.0], dtype=torch.float64),
)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def displaced(turn: torch.Tensor, shift_mm: torch.Tensor) -> torch.Tensor:
    """Return NOMINAL turned about CENTRE, then shifted, in camera axes."""
    turned = se3.apply_twist(torch.cat([turn, 0 * turn], -1), NOMINAL, CENTRE)
    return se3.from_parts(turned[..., :3, :3], turned[..., :3, 3] + shift_mm)


def scattered(degrees: float, shift_mm: float, seed: int, count: int = 4000) -> torch.Tensor:
    """Return poses with these standard deviations along each axis."""
    turn, shift = random(2, count, 3, seed=seed)
    return displaced(math.radians(degrees) * turn, shift_mm * shift)


def distance_mm(first, second, length_mm=L, reference=NOMINAL):
    pairs = (so4.pose_embedding(pose, reference, CENTRE, length_mm) for pose in (first, second))
    return length_mm / math.sqrt(2) * so4.distance(*pairs)


@pytest.mark.parametrize(
    ('degrees', 'shift_mm', 'length_mm', 'deviation'),
    [
        (2, 5, 510.0, 0.0022),
        (10, 30, 510.0, 0.015),
        (20, 60, 510.0, 0.029),
        (45, 150, 510.0, 0.08),
        (45, 150, 1020.0, 0.031),
    ],
)
def test_the_distance_is_the_geodesic_but_for_a_known_small_part(
    degrees, shift_mm, length_mm, deviation
):
    first, second = (scattered(degrees, shift_mm, seed) for seed in (0, 1))
    geodesic = geodesics.centre_geodesic_mm(first, second, CENTRE, length_mm)
    found = distance_mm(first, second, length_mm) / geodesic - 1
    # 95 of 100 pairs deviate less than the design says, and not by much less.
    assert 0.7 * deviation < float(found.abs().quantile(0.95)) < deviation


@pytest.mark.parametrize('degrees', [1e-4, 30.0, 179.0])
def test_a_rotation_about_the_centre_is_its_angle_times_the_length(degrees):
    angle = math.radians(degrees)
    turn = angle * torch.tensor([2.0, -1.0, 2.0], dtype=torch.float64) / 3
    moved = displaced(turn, torch.zeros(3, dtype=torch.float64))
    pair = so4.pose_embedding(moved, NOMINAL, CENTRE)
    assert torch.allclose(pair[0], pair[1], atol=1e-14)
    assert float(distance_mm(moved, NOMINAL)) == pytest.approx(L * angle, rel=1e-8)


@pytest.mark.parametrize('shift_mm', [1e-3, 20.0, 300.0, 1600.0])
def test_a_shift_of_the_centre_is_its_length_up_to_pi_times_the_length(shift_mm):
    direction = torch.tensor([2.0, -1.0, 2.0], dtype=torch.float64) / 3
    moved = displaced(torch.zeros(3, dtype=torch.float64), shift_mm * direction)
    assert float(distance_mm(moved, NOMINAL)) == pytest.approx(shift_mm, rel=1e-9)


def test_the_rotation_of_the_reference_plays_no_part_in_distances():
    first, second = (scattered(45, 150, seed, 50) for seed in (0, 1))
    other = displaced(random(3, seed=5), torch.zeros(3, dtype=torch.float64))
    plain, turned = (distance_mm(first, second, reference=ref) for ref in (NOMINAL, other))
    assert torch.allclose(plain, turned, rtol=1e-12)


def test_both_halves_have_unit_length_and_one_pose_equals_one_of_many():
    poses = scattered(60, 200, 0, 20)
    pairs = so4.pose_embedding(poses, NOMINAL, CENTRE)
    assert torch.allclose(pairs.norm(dim=-1), torch.ones(20, 2).double(), atol=1e-14)
    single = so4.pose_embedding(poses[3], NOMINAL, CENTRE)
    assert torch.allclose(pairs[3], single, atol=1e-15)
    mapped = torch.func.vmap(lambda pose: so4.pose_embedding(pose, NOMINAL, CENTRE))(poses)
    assert torch.allclose(pairs, mapped, atol=1e-15)


def residual_after(xi: torch.Tensor, pose: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    twist = torch.cat([xi[:3], L * xi[3:]])
    moved = se3.apply_twist(twist, pose, CENTRE.to(pose))
    pairs = [so4.pose_embedding(p, NOMINAL.to(pose), CENTRE.to(pose), L) for p in (moved, target)]
    return so4.residual(*pairs)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_at_the_reference_the_squared_residual_is_twice_the_squared_twist(dtype):
    pose = NOMINAL.to(dtype)
    for order in (torch.func.jacfwd, torch.func.jacrev):
        J = order(residual_after)(torch.zeros(6, dtype=dtype), pose, pose)
        assert J.dtype == dtype
        expected = 2 * torch.eye(6, dtype=dtype)
        assert torch.allclose(J.T @ J, expected, atol=1e-4 if dtype == torch.float32 else 1e-9)


@pytest.mark.parametrize('angle', [0.0, 1e-6, 1.0, math.pi - 1e-3, math.pi])
def test_the_derivative_by_the_twist_is_exact_for_any_rotation(angle):
    axis = torch.tensor([2.0, -1.0, 2.0], dtype=torch.float64) / 3
    pose = displaced(angle * axis, torch.tensor([5.0, -8.0, 20.0], dtype=torch.float64))
    target = displaced(-0.1 * axis, torch.zeros(3, dtype=torch.float64))
    xi = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        residual_after, (xi, pose, target), check_forward_ad=True, atol=1e-6
    )


@pytest.mark.parametrize(('degrees', 'shift_mm'), [(0.0, 0.0), (10.0, 30.0), (60.0, 150.0)])
def test_slopes_by_a_twist_are_known_from_the_embedding_alone(degrees, shift_mm):
    poses, others = (scattered(degrees, shift_mm, seed, 20) for seed in (0, 1))
    fixed = so4.pose_embedding(others, NOMINAL, CENTRE)

    def residual(xi: torch.Tensor) -> torch.Tensor:
        twist = torch.cat([xi[:3], se3.TWIST_LENGTH_MM * xi[3:]]).expand(20, 6)
        moved = se3.apply_twist(twist, poses, CENTRE)
        return so4.residual(so4.pose_embedding(moved, NOMINAL, CENTRE), fixed)

    expected = torch.func.jacfwd(residual)(torch.zeros(6, dtype=torch.float64))
    found = so4.residual_slopes(so4.pose_embedding(poses, NOMINAL, CENTRE), fixed)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
