"""The demo's table and the rule by which it passes."""

from dataclasses import replace

import pytest

from sph_reg_ros.demo.table import BodyRow, Row, body_summary, header, passed, summary
from sph_reg_ros.evaluation.metrics import PoseError

START = PoseError(8.0, 5.0, 6.0, 3.0, 7.0)
GOOD = PoseError(mtre_mm=0.5, in_plane_mm=0.2, depth_mm=0.4, rotation_deg=0.1, mpd_mm=0.2)


def rows(final: PoseError | None = GOOD, verdict: str = 'verified') -> list[Row]:
    first = Row(0, 'LAO 30 / CRAN 10', START, final, 0.99, 2.5, verdict)
    return [replace(first, index=index) for index in range(10)]


def test_ten_good_images_pass():
    assert summary(rows()) == 'demo: 10 registered, median error 0.20 mm, 0.10 deg'
    assert passed(rows(), 10)


@pytest.mark.parametrize(
    'bad',
    [
        rows()[:9],
        [*rows()[:9], rows(None)[9]],
        [*rows()[:9], rows(verdict='not verified')[9]],
        rows(replace(GOOD, in_plane_mm=1.0)),
        rows(replace(GOOD, rotation_deg=0.5)),
        [],
    ],
)
def test_a_missing_unverified_or_wrong_image_fails(bad):
    assert not passed(bad, 10)


def test_one_bad_image_of_ten_does_not_move_the_median():
    assert passed([*rows()[:9], rows(replace(GOOD, in_plane_mm=9.0))[9]], 10)


def test_columns_stand_under_their_headings():
    heading = header().splitlines()[-1]
    line = str(rows()[0])
    for name, value in (('in-plane mm', '0.20'), ('rotation deg', '0.100'), ('time s', '2.5')):
        end = heading.index(name) + len(name)
        assert line[:end].endswith(value)
    assert str(rows(None)[0])[: heading.index('in-plane mm') + 11].endswith('-')


def test_without_any_result_the_summary_says_so():
    assert summary([]) == 'demo: 0 registered'


def test_bodies_without_a_frame_count_for_nothing():
    found = BodyRow('T9', 3.3, 4.0, GOOD, 'verified', has_frame=True)
    lost = replace(found, has_frame=False)
    assert found.registered and not lost.registered
    assert not replace(found, verdict='not verified').registered
    assert body_summary([found, lost]) == (
        'bodies: 1 of 2 have a frame, median error 0.50 mm, 0.10 deg'
    )
    assert body_summary([lost]) == 'bodies: 0 of 1 have a frame'
    assert 'T9     moved  3.3 mm  4.0 deg' in str(found) and len(str(found)) == len(str(rows()[0]))
