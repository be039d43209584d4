"""Collimated fields that only their edge gives away."""

import math

import pytest
import torch

from sph_reg_ros.imaging.xray.collimator import collimator_mask
from sph_reg_ros.imaging.xray.field_edges import field_by_edges

SIZE = 192
V, U = torch.meshgrid(torch.arange(SIZE).float(), torch.arange(SIZE).float(), indexing='ij')
RECTANGLE = (V >= 24) & (V < 172) & (U >= 16) & (U < 150)
IRIS = torch.hypot(V - 92.0, U - 99.0) <= 80.0


def body() -> torch.Tensor:
    """Return a share of the beam between 0.003 and 0.3, darkest in the middle of one half."""
    thickness = 1.2 + 4.5 * torch.exp(-((V - 110) ** 2 + (U - 70) ** 2) / 3000.0)
    return torch.exp(-thickness - 0.4 * torch.cos(U / 9.0) * torch.cos(V / 13.0))


def lit_by_scatter(field: torch.Tensor, scatter: float = 0.01) -> torch.Tensor:
    """Return counts behind a field, with smooth scattered light everywhere."""
    light = torch.where(field, body(), 0.002 * body())
    smooth = scatter * torch.exp(-((V - 96) ** 2 + (U - 96) ** 2) / 12000.0)
    generator = torch.Generator().manual_seed(0)
    return torch.poisson(20_000.0 * (light + smooth), generator=generator)


@pytest.mark.parametrize('field', [RECTANGLE, IRIS], ids=['blades', 'iris'])
@pytest.mark.parametrize('scatter', [0.0, 0.01, 0.03])
def test_a_shadow_that_is_as_bright_as_the_body_is_found(field, scatter):
    mask = collimator_mask(lit_by_scatter(field, scatter))
    assert float((mask & ~field).sum()) <= 0.01 * float((~field).sum())
    assert float((mask & field).sum()) >= 0.88 * float(field.sum())


@pytest.mark.parametrize('scatter', [0.0, 0.03])
def test_without_a_collimator_nothing_is_lost(scatter):
    everything = torch.ones(SIZE, SIZE, dtype=torch.bool)
    assert bool(collimator_mask(lit_by_scatter(everything, scatter)).all())


def test_a_plate_in_the_field_is_no_edge_of_it():
    plate = (V > 60) & (V < 120) & (U > 40) & (U < 140)
    counts = torch.where(plate, 0.05, 1.0) * lit_by_scatter(torch.ones_like(plate))
    assert bool(collimator_mask(counts).all())


def test_a_bright_surround_is_no_shadow():
    counts = torch.where(RECTANGLE, 0.1, 1.0) * lit_by_scatter(torch.ones_like(RECTANGLE))
    assert field_by_edges(torch.log(counts[::2, ::2].clamp(min=0.5))) is None


def test_sides_are_found_where_they_are():
    tilt = math.radians(20.0)
    across = (U - 95.5) * math.cos(tilt) + (V - 95.5) * math.sin(tilt)
    along = (V - 95.5) * math.cos(tilt) - (U - 95.5) * math.sin(tilt)
    counts = lit_by_scatter((across.abs() <= 60) & (along.abs() <= 70))
    field = field_by_edges(torch.log(counts[::2, ::2].clamp(min=0.5)))
    assert field is not None and len(field.sides) == 4
    assert sorted(side.offset for side in field.sides) == pytest.approx([30, 30, 35, 35], abs=1.0)
    angles = [math.degrees(math.atan2(*side.normal.tolist())) % 90 for side in field.sides]
    assert angles == pytest.approx([20.0] * 4, abs=2.0)
