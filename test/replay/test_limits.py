"""Limits of the command line, and the figures that they are about."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from sph_reg_ros.errors import ConfigError
from sph_reg_ros.evaluation.metrics import PoseError
from sph_reg_ros.replay.limits import all_met, figures_of, parse_limit
from sph_reg_ros.replay.record import DROPPED, BagRecord, ImageRow, record_from_json
from sph_reg_ros.replay.report import report_html
from sph_reg_ros.replay.table import limit_lines, summary_line, table_lines


def row(mtre_mm: float | None, verdict: str = 'VERIFIED', bound_mm: float = math.nan) -> ImageRow:
    error = None if mtre_mm is None else PoseError(mtre_mm, mtre_mm / 2, mtre_mm, 0.1, 1.0)
    return ImageRow(1, 1, 'imager', verdict, error=error, bound_mm=bound_mm, seconds=2.0)


def test_figures_are_of_verified_poses_only():
    rows = (row(1.0), row(3.0), row(90.0, 'REJECTED'), row(None, DROPPED))
    figures = figures_of([BagRecord('bag', rows=rows)])
    assert (figures['images'], figures['verified'], figures['dropped']) == (4, 2, 1)
    assert figures['verified_share'] == 0.5
    assert figures['mtre_mm.median'] == 2.0 and figures['mtre_mm.max'] == 3.0
    assert figures['in_plane_mm.median'] == 1.0


def test_coverage_is_the_share_of_errors_below_their_own_bound():
    rows = (row(1.0, bound_mm=1.5), row(2.0, bound_mm=1.5), row(9.0))
    assert figures_of([BagRecord('bag', rows=rows)])['bound_coverage'] == 0.5


def test_doubts_about_the_ct_come_before_the_images_in_table_and_report():
    record = BagRecord('bag', rows=(row(1.0),), doubts=('CT: 0 to 1 HU - are these HU?',))
    assert record_from_json(record.to_json()).doubts == record.doubts
    assert table_lines(record)[0] == 'bag: warning: CT: 0 to 1 HU - are these HU?'
    report = report_html([(record, Path())], [], '')
    assert 0 < report.index('are these HU?') < report.index('<h3>Images</h3>')


def test_a_bag_of_which_every_image_was_refused_does_not_meet_limits_that_nobody_set():
    pose = ((1.0, 0.0, 0.0, 0.0),) * 4
    found = BagRecord('found', rows=(row(None), replace(row(None), camera_from_ct=pose)))
    refused = BagRecord('refused', rows=(row(None), row(None)))
    assert all_met([], [found]) and not all_met([], [refused])
    assert not all_met([], [found, refused])
    assert not all_met([], [found, BagRecord('gone', failure='gone')])
    assert not all_met([parse_limit('images>=3')], [found])


def test_nothing_is_known_of_no_images():
    figures = figures_of([BagRecord('bag', failure='gone')])
    assert figures['failed_bags'] == 1 and math.isnan(figures['mtre_mm.median'])


@pytest.mark.parametrize(
    ('text', 'value', 'met'),
    [
        ('mtre_mm.median<=1.5', 1.5, True),
        ('mtre_mm.median<=1.5', 1.6, False),
        ('verified_share >= 0.9', 0.9, True),
        ('verified_share>=0.9', 0.8, False),
        ('mtre_mm.p95<=1e3', math.nan, False),
    ],
)
def test_a_limit_is_kept_on_its_own_side_and_never_by_what_is_unknown(text, value, met):
    limit = parse_limit(text)
    assert limit.met({limit.name: value, 'measured': 1, 'verified': 1}) is met


@pytest.mark.parametrize('name', ['mtre_mm.median', 'any_mtre_mm.max', 'bound_coverage'])
def test_a_limit_on_an_error_is_missed_if_verified_images_have_no_truth(name):
    records = [BagRecord('bag', rows=(row(1.0, bound_mm=9.0), row(None), row(None, 'REJECTED')))]
    limit = parse_limit(f'{name}>=0')
    assert not limit.met(figures_of(records))
    (line,) = limit_lines([limit], records)
    assert 'MISSED' in line and 'only 1 of 2 verified images have a truth' in line
    assert parse_limit('verified>=2').met(figures_of(records))


def test_the_summary_says_how_many_images_its_errors_are_of():
    records = [BagRecord('bag', rows=(row(1.0), row(3.0), row(None), row(9.0, 'UNVERIFIED')))]
    assert figures_of(records)['measured'] == 2
    expected = '3 of 4 images verified, median error of 2 verified images with truth 2.00 mm '
    assert summary_line(records).startswith(expected)
    report = report_html([(records[0], Path())], [parse_limit('mtre_mm.max<=9')], '')
    assert 'the 2 of 3 verified images' in report and 'only 2 of 3 verified images' in report


@pytest.mark.parametrize(
    'text', ['mtre_mm.median', 'mtre<=1', 'images==3', 'images<=much', 'images<=nan', '']
)
def test_what_is_no_limit_is_refused(text):
    with pytest.raises(ConfigError):
        parse_limit(text)


def test_a_misspelt_figure_is_answered_with_the_right_one():
    with pytest.raises(ConfigError, match='did you mean mtre_mm.median'):
        parse_limit('mtre_mm.medain<=1')
