"""An initial pose's covariance says how wide the search is, and how far the result may lie."""

import numpy as np
import pytest
import torch

from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.search_widths import RANGES, with_widths_of

CONFIG = RegistrationConfig()


def widths(config: RegistrationConfig) -> tuple[float, ...]:
    return tuple(getattr(config, name) for name in RANGES)


def covariance(*deviations: float) -> torch.Tensor:
    return torch.tensor(deviations, dtype=torch.float64).square().diag()


def test_the_worst_axis_of_each_kind_counts_and_nothing_is_said():
    config, warnings = with_widths_of(CONFIG, covariance(0.1, 0.3, 0.2, 7.0, 12.0, 40.0))
    assert widths(config) == pytest.approx((0.3, 12.0, 40.0)) and warnings == ()


def test_an_unknown_covariance_leaves_the_settings_alone():
    assert with_widths_of(CONFIG, torch.zeros(6, 6).double()) == (CONFIG, ())


def test_unknown_rotations_or_shifts_leave_theirs_alone():
    config, _ = with_widths_of(CONFIG, covariance(0, 0, 0, 3.0, 3.0, 9.0))
    assert widths(config) == pytest.approx((CONFIG.search_rotation_rad, 3.0, 9.0))
    config, _ = with_widths_of(CONFIG, covariance(0.05, 0, 0, 0, 0, 0))
    assert config.search_rotation_rad == pytest.approx(0.05)
    assert widths(config)[1:] == widths(CONFIG)[1:]


def test_what_is_too_narrow_or_too_wide_is_clipped_and_said():
    narrow, said = with_widths_of(CONFIG, covariance(*[1e-6] * 6))
    assert widths(narrow) == tuple(low for low, _ in RANGES.values()) and len(said) == 3
    wide, said = with_widths_of(CONFIG, covariance(*[1e3] * 6))
    assert widths(wide) == tuple(high for _, high in RANGES.values())
    assert 'search_depth_mm 1e+03: 120 is used' in said[2]


def test_a_correlated_covariance_is_taken_along_the_axes():
    turn = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])
    shifts = torch.from_numpy(turn @ np.diag([100.0, 1.0, 400.0]) @ turn.T)
    whole = torch.block_diag(torch.eye(3).double() * 0.01, shifts)
    config, _ = with_widths_of(CONFIG, whole)
    assert widths(config) == pytest.approx((0.1, np.sqrt(64.36), 20.0))
