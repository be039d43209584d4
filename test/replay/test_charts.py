"""Curves of the report."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sph_reg_ros.replay.charts import charts_of, ticks
from sph_reg_ros.replay.record import ImageRow


def row(number: int, similarity: float) -> ImageRow:
    return ImageRow(
        number, number * 10**9, 'imager', 'VERIFIED', similarity_after=similarity, seconds=0.5
    )


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e4))
def test_ticks_reach_over_the_values_and_are_few(low, span):
    found = ticks(low, low + span)
    assert found[0] <= low + 1e-6 * span and found[-1] >= low + span - 1e-6 * span
    assert 2 <= len(found) <= 8 and found == sorted(set(found))


def test_only_figures_that_are_known_are_drawn():
    assert [chart.title for chart in charts_of([row(1, 0.9), row(2, 0.8)])] == [
        'similarity',
        'computation, seconds',
    ]
    assert charts_of([ImageRow(1, 1, 'imager', 'REJECTED')]) == []
    assert charts_of([]) == []


def test_a_curve_is_interrupted_where_an_image_has_no_figure():
    rows = [row(1, 0.9), row(2, math.nan), row(3, 0.7), row(4, 0.8)]
    curve = charts_of(rows)[0].series[0]
    assert [[point.number for point in run] for run in curve.runs] == [[1], [3, 4]]


def test_higher_figures_lie_higher_and_later_images_further_right():
    first, second = charts_of([row(1, 0.9), row(2, 0.8)])[0].series[0].runs[0]
    assert first.y < second.y and first.x < second.x


def test_time_goes_on_where_stamps_start_again_and_skips_what_has_no_stamp():
    rows = [row(number, 0.9) for number in (0, 1, 2, 3, 1, 2)]
    (run,) = charts_of(rows)[0].series[0].runs
    across = [point.x for point in run]
    assert across[:2] == [52, 52] and across[3] == across[4]
    assert across[2] - across[1] == pytest.approx(across[5] - across[4], abs=0.02)
    assert across[1] < across[2] < across[3] < across[5]


def test_a_single_image_is_drawn():
    (point,) = charts_of([replace(row(1, 0.9), stamp_ns=5)])[0].series[0].runs[0]
    assert point.x == pytest.approx(52) and math.isfinite(point.y)
