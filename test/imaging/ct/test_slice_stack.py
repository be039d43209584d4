"""Tolerances of the slice grid: rounding passes, a displacement that matters does not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transforms3d.quaternions import quat2mat

from sph_reg_ros.errors import CTError, ErrorCode
from sph_reg_ros.imaging.ct.slice_plane import SlicePlane
from sph_reg_ros.imaging.ct.slice_stack import SliceStack


def planes(positions, rotation=None, decimals=12):
    """Slices at these positions (mm) along the normal, position and cosines rounded."""
    axes = np.eye(3) if rotation is None else rotation
    return [
        SlicePlane(
            np.round(axes[:, 2] * position, decimals),
            np.round(axes[:, 0], 6),
            np.round(axes[:, 1], 6),
            (0.9, 0.7),
            (64, 80),
        )
        for position in positions
    ]


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    quaternion=st.tuples(*[st.integers(-5, 5)] * 4).filter(any),
    gap=st.sampled_from([0.33, 0.625, 1.0, 2.5]),
    order=st.permutations(range(12)),
)
def test_positions_rounded_to_a_hundredth_of_a_millimetre_pass_in_any_file_order(
    quaternion, gap, order
):
    rotation = quat2mat(np.array(quaternion, float))
    slices = planes(np.arange(12) * gap - 3, rotation, decimals=2)
    stack = SliceStack([slices[n] for n in order])
    assert [order[n] for n in stack.order] == list(range(12))
    np.testing.assert_allclose(stack.ct_from_index[:3, 2], rotation[:, 2] * gap, atol=2e-3)
    np.testing.assert_allclose(stack.ct_from_index[:3, 0], rotation[:, 0] * 0.7, atol=2e-6)
    np.testing.assert_allclose(stack.ct_from_index[:3, 1], rotation[:, 1] * 0.9, atol=2e-6)


@pytest.mark.parametrize('gap', [0.125, 0.33, 0.625, 1.25])
def test_positions_rounded_to_a_tenth_of_a_millimetre_pass(gap):
    rotation = quat2mat(np.array([9.0, 1.0, 2.0, 1.0]))
    stack = SliceStack(planes(np.arange(90) * gap - 3, rotation, decimals=1))
    np.testing.assert_allclose(stack.ct_from_index[:3, 2], rotation[:, 2] * gap, atol=2e-3)


def test_noise_of_positions_passes_but_a_tilt_of_a_short_stack_does_not():
    positions = np.arange(12) * 2.5
    stack = SliceStack(planes(positions + 0.02 * (-1) ** np.arange(12)))
    assert stack.ct_from_index[2, 2] == pytest.approx(2.5, abs=2e-3)
    tilted = planes(positions)
    for plane in tilted:
        plane.position[1] += 0.02 * plane.position[2]
    with pytest.raises(CTError, match='tilted'):
        SliceStack(tilted)


@pytest.mark.parametrize('displacement_mm, accepted', [(0.05, True), (0.2, False)])
def test_a_slice_may_be_displaced_by_rounding_only(displacement_mm, accepted):
    slices = planes(np.arange(9) * 2.5)
    slices[4].position[0] += displacement_mm
    if accepted:
        SliceStack(slices)
    else:
        with pytest.raises(CTError, match=r'slice 5 of 9 at 10\.00 mm lies 0\.1'):
            SliceStack(slices)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(count=st.integers(4, 40), data=st.data(), gap=st.floats(0.3, 5))
def test_every_missing_inner_slice_is_found_whatever_the_spacing(count, data, gap):
    absent = data.draw(st.integers(1, count - 2))
    positions = [n * gap - 50 for n in range(count) if n != absent]
    with pytest.raises(CTError) as error:
        SliceStack(planes(positions))
    assert error.value.code == ErrorCode.CT_GEOMETRY
    expected = f'1 missing of {count} slices: slice {absent + 1} at {absent * gap - 50:.2f} mm'
    assert expected in str(error.value)


def test_a_drifting_slice_distance_is_refused_even_if_neighbours_hardly_differ():
    gaps = 2.5 + np.linspace(-0.05, 0.05, 60)
    with pytest.raises(CTError, match='off the regular grid'):
        SliceStack(planes(np.cumsum(gaps)))


def test_two_slices_are_enough():
    stack = SliceStack(planes([10.0, 12.5]))
    np.testing.assert_allclose(stack.ct_from_index[:3, 2:], [[0, 0], [0, 0], [2.5, 10]], atol=1e-12)
