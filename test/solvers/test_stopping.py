"""The paper's stopping rule."""

import math

import pytest
import torch

from sph_reg_ros.geometry.se3 import TWIST_LENGTH_MM
from sph_reg_ros.solvers import StepUnits
from sph_reg_ros.solvers.stopping import StepSpread


def filled(steps, units=StepUnits.XI) -> StepSpread:
    spread = StepSpread(1e-2, units)
    for step in steps:
        spread.add(torch.as_tensor(step, dtype=torch.float64)[None], torch.tensor([True]))
    return spread


def test_nine_equal_steps_are_too_few_and_ten_are_enough():
    assert not filled([torch.ones(6)] * 9).is_small()
    assert filled([torch.ones(6)] * 10).is_small()


def test_only_the_last_ten_steps_count():
    wild = [torch.full((6,), float(i)) for i in range(9)]
    assert not filled(wild + [torch.zeros(6)] * 9).is_small()
    assert filled(wild + [torch.zeros(6)] * 10).is_small()


@pytest.mark.parametrize('direction', range(6))
def test_one_direction_that_still_moves_is_enough_to_go_on(direction):
    # Values of +a and -a in turn have a standard deviation of a.
    for amplitude, small in ((0.0099, True), (0.0101, False)):
        steps = torch.zeros(10, 6)
        steps[::2, direction], steps[1::2, direction] = amplitude, -amplitude
        assert filled(steps).is_small() == small


@pytest.mark.parametrize(
    ('direction', 'unit'), [(0, math.radians(1)), (2, math.radians(1)), (3, 1 / TWIST_LENGTH_MM)]
)
def test_in_degrees_and_mm_the_threshold_is_a_hundredth_of_each(direction, unit):
    for amplitude, small in ((0.0099, True), (0.0101, False)):
        steps = torch.zeros(10, 6, dtype=torch.float64)
        steps[::2, direction], steps[1::2, direction] = amplitude * unit, -amplitude * unit
        assert filled(steps, StepUnits.DEG_MM).is_small() == small


def test_each_row_counts_its_own_accepted_steps():
    spread = StepSpread(1e-2, StepUnits.XI)
    for number in range(12):
        # The first row accepts all steps, the second one all but three, the third one wild ones.
        steps = torch.ones(3, 6, dtype=torch.float64)
        steps[2] = number
        spread.add(steps, torch.tensor([True, number > 2, True]))
    assert spread.is_small().tolist() == [True, False, False]
    spread.keep(torch.tensor([1, 0]))
    assert spread.is_small().tolist() == [False, True]
    spread.add(torch.ones(2, 6, dtype=torch.float64), torch.tensor([True, True]))
    assert spread.is_small().tolist() == [True, True]
