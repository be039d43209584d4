"""Distances between poses against values worked out by hand, and their derivatives."""

import math

import pytest
import torch

from sph_reg_ros.geometry import se3
from sph_reg_ros.geometry.geodesics import (
    centre_geodesic_mm,
    double_geodesic_mm,
    rotation_angle_rad,
    twist_angles_deg,
)

SDD_MM, OBJECT_MM = 1020.0, 700.0
X, Y, Z = torch.eye(3, dtype=torch.float64)
CENTRE = torch.tensor([10.0, -20.0, 30.0], dtype=torch.float64)
TRUTH = se3.from_parts(torch.eye(3, dtype=torch.float64), OBJECT_MM * Z)


def moved(omega=(0.0, 0.0, 0.0), v_mm=(0.0, 0.0, 0.0), centre=CENTRE) -> torch.Tensor:
    """Return TRUTH moved by a twist about a point of the CT."""
    twist = torch.tensor([*omega, *v_mm], dtype=torch.float64)
    return se3.apply_twist(twist, TRUTH, centre)


DISTANCES = {
    'rotation': rotation_angle_rad,
    'centre': lambda a, b: centre_geodesic_mm(a, b, CENTRE.to(a)),
    'double': lambda a, b: double_geodesic_mm(a, b, SDD_MM),
}


@pytest.mark.parametrize('angle', [1e-9, 1e-3, 1.0, math.pi - 1e-6, math.pi])
def test_the_rotation_angle_is_exact_from_nothing_to_half_a_turn(angle):
    axis = (X + 2 * Y - 2 * Z) / 3
    assert float(rotation_angle_rad(moved(angle * axis), TRUTH)) == pytest.approx(angle, rel=1e-6)


def test_the_double_geodesic_adds_arc_and_distance_of_the_sources():
    shifted = moved(v_mm=3.0 * X)
    assert float(double_geodesic_mm(shifted, TRUTH, SDD_MM)) == pytest.approx(3.0)
    # A turn about the source itself leaves the source where it is.
    turned = moved(math.radians(2.0) * Z, centre=-OBJECT_MM * Z)
    found = float(double_geodesic_mm(turned, TRUTH, SDD_MM))
    assert found == pytest.approx(510 * math.radians(2.0))


def test_the_double_geodesic_of_a_turn_about_the_object_by_hand():
    turned = moved(math.radians(2.0) * X, centre=0 * Z)
    arc_mm = SDD_MM / 2 * math.radians(2.0)
    # The source sweeps a chord of a circle of 700 mm about the object.
    chord_mm = 2 * OBJECT_MM * math.sin(math.radians(1.0))
    found = float(double_geodesic_mm(turned, TRUTH, SDD_MM))
    assert found == pytest.approx(math.hypot(arc_mm, chord_mm))


def test_the_centre_geodesic_adds_arc_and_shift_of_the_centre():
    pose = moved(0.1 * Y, 3.0 * X)
    assert float(centre_geodesic_mm(moved(0.1 * Y), TRUTH, CENTRE)) == pytest.approx(51.0)
    assert float(centre_geodesic_mm(moved(v_mm=3.0 * X), TRUTH, CENTRE)) == pytest.approx(3.0)
    shift = se3.transform_points(pose, CENTRE[None]) - se3.transform_points(TRUTH, CENTRE[None])
    expected = math.hypot(20.0, float(shift.norm()))
    assert float(centre_geodesic_mm(pose, TRUTH, CENTRE, 200.0)) == pytest.approx(expected)


@pytest.mark.parametrize('name', DISTANCES)
def test_distances_are_symmetric_zero_at_equal_poses_and_alike_for_one_and_many(name):
    distance = DISTANCES[name]
    generator = torch.Generator().manual_seed(0)
    twists = torch.randn(2, 20, 6, generator=generator, dtype=torch.float64)
    twists = twists * torch.tensor([0.5] * 3 + [50.0] * 3, dtype=torch.float64)
    first, second = (se3.apply_twist(twist, TRUTH, CENTRE) for twist in twists)
    there = distance(first, second)
    assert there.shape == (20,)
    assert torch.allclose(there, distance(second, first), rtol=1e-12)
    assert torch.allclose(there[3], distance(first[3], second[3]), rtol=1e-12)
    assert torch.allclose(torch.func.vmap(distance)(first, second), there, rtol=1e-12)
    assert torch.allclose(distance(first, TRUTH)[3], distance(first[3], TRUTH), rtol=1e-12)
    assert float(distance(first, first).max()) < 1e-10


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('name', DISTANCES)
def test_derivatives_are_finite_at_equal_poses_and_the_same_in_both_modes(name, dtype):
    distance, truth = DISTANCES[name], TRUTH.to(dtype)
    far = moved((0.3, -0.1, 0.2), (20.0, 5.0, 60.0)).to(dtype)
    for pose in (truth, far):
        backward, forward = (
            order(distance)(pose, truth) for order in (torch.func.jacrev, torch.func.jacfwd)
        )
        assert backward.dtype == forward.dtype == dtype
        assert torch.isfinite(backward).all()
        assert torch.allclose(backward, forward, rtol=1e-4, atol=1e-4)
    assert not torch.func.jacrev(distance)(truth, truth).any()


@pytest.mark.parametrize('omega', [(0.3, -0.1, 0.2), (math.pi - 1e-3, 0.0, 0.0)])
@pytest.mark.parametrize('name', DISTANCES)
def test_derivatives_are_exact(name, omega):
    twist = torch.tensor([*omega, 20.0, 5.0, 60.0], dtype=torch.float64, requires_grad=True)

    def along(twist):
        return DISTANCES[name](se3.apply_twist(twist, TRUTH, CENTRE), TRUTH)

    assert torch.autograd.gradcheck(along, twist, check_forward_ad=True, atol=1e-4)


def test_a_small_length_rounds_the_cone_at_equal_poses():
    twist = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    for distance in (
        lambda a, b: centre_geodesic_mm(a, b, CENTRE, eps_mm=0.01),
        lambda a, b: double_geodesic_mm(a, b, SDD_MM, eps_mm=0.01),
    ):
        found = distance(se3.apply_twist(twist, TRUTH, CENTRE), TRUTH)
        assert float(found.detach()) == pytest.approx(0.01)
        hessian = torch.func.hessian(
            lambda x, d=distance: d(se3.apply_twist(x, TRUTH, CENTRE), TRUTH)
        )(twist.detach())
        assert torch.isfinite(hessian).all()
        assert float(hessian[3:, 3:].diagonal().min()) == pytest.approx(100.0)


def test_angles_are_those_of_rotation_and_of_translation():
    first = torch.tensor([[1.0, 0, 0, 0, 1, 0]])
    second = torch.tensor([[0.0, 3, 0, 0, 1, 1]])
    torch.testing.assert_close(twist_angles_deg(first, second), torch.tensor([[90.0, 45.0]]))
