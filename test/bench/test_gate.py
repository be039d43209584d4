"""The figures that the gate's benchmark prints, from trials made up for the purpose."""

import json
import math
from dataclasses import replace

import pytest
from _gate_picture import nearest_miss
from _gate_report import Share, claimed, covered, share_of, strata
from _gate_split import MEASURED, splits
from _gate_trials import GateTrial

GOOD = GateTrial(
    ct='a',
    condition='clean',
    case=0,
    disturbances=(),
    kind='found',
    settled=True,
    error_mm=0.5,
    verdict='VERIFIED',
    figures=dict.fromkeys(MEASURED, 0.1) | {'rival': -0.1},
    failed=(),
    estimate_mm=0.4,
    bound_mm=0.8,
    seconds=0.1,
    registration_s=0.5,
)


def test_a_pose_is_correct_below_two_millimetres_and_wrong_from_three_on():
    judged = [replace(GOOD, error_mm=error) for error in (1.99, 2.0, 2.99, 3.0)]
    assert [trial.correct for trial in judged] == [True, False, False, False]
    assert [trial.wrong for trial in judged] == [False, False, False, True]


@pytest.mark.parametrize('kind', ['other_ct', 'mirrored_ct', 'flipped_display'])
def test_any_pose_of_a_wrong_ct_is_wrong(kind):
    trial = replace(GOOD, kind=kind, error_mm=0.1)
    assert trial.wrong and not trial.correct


def test_no_event_in_three_thousand_leaves_a_tenth_of_a_percent():
    low, high = Share(0, 3000).interval
    assert low == 0 and high == pytest.approx(0.00128, rel=0.01)


def test_an_interval_holds_the_share_and_narrows_with_the_number():
    few, many = Share(9, 10), Share(900, 1000)
    for share in (few, many):
        low, high = share.interval
        assert low < 0.9 < high
    assert few.interval[1] - few.interval[0] > 5 * (many.interval[1] - many.interval[0])


def test_errors_of_the_camera_that_no_image_tells_are_counted_apart():
    beyond = replace(GOOD, kind='principal_point', error_mm=12.0)
    assert claimed([GOOD, beyond]) == [GOOD]


def test_a_bound_of_nan_covers_nothing():
    trials = [GOOD, replace(GOOD, error_mm=0.9), replace(GOOD, bound_mm=math.nan)]
    assert share_of(trials, covered) == Share(1, 3)


def test_a_split_learns_from_the_other_cts_only():
    others = [replace(GOOD, ct=name, error_mm=0.6) for name in ('b', 'c')]
    loose = replace(GOOD, figures=GOOD.figures | {'held_out_mm': 100.0}, error_mm=1.9)
    split = next(split for split in splits([loose, *others]) if split.name == 'a')
    assert split.limits['held_out_mm'] == pytest.approx(0.125)
    assert split.scale == pytest.approx(1.5)
    assert split.tested == [loose]
    assert not split.verifies(loose) and not split.covers(loose)
    assert split.verifies(GOOD) and split.covers(GOOD)


def test_a_check_that_is_not_learnt_still_counts_in_a_split():
    trials = [replace(GOOD, ct=name) for name in ('a', 'b')]
    split = next(splits(trials))
    assert not split.verifies(replace(GOOD, failed=('prior_distance',)))


def test_a_trial_comes_back_from_json_as_it_was():
    trial = replace(GOOD, failed=('held_out_mm',), disturbances=('noise',))
    assert GateTrial.of(json.loads(json.dumps(trial.content()))) == trial


def test_strata_are_those_in_which_trials_differ_each_with_all_of_its_own():
    small, other = replace(GOOD, field_mm=80.0), replace(GOOD, ct='b')
    found = dict(strata([GOOD, small, other]))
    assert found == {
        'a': [GOOD, small], 'b': [other], 'field of  80 mm': [small],
        'field of 300 mm': [GOOD, other],
    }  # fmt: skip


def test_the_nearest_miss_is_the_wrong_pose_that_the_fewest_checks_refused():
    wrong = replace(GOOD, kind='elsewhere', error_mm=30.0, failed=('rival',), pose=(1.0,) * 16)
    more = replace(wrong, failed=('rival', 'tre_p95_mm'), error_mm=90.0)
    assert nearest_miss([GOOD, more, wrong, replace(wrong, error_mm=1.0)]) is wrong
    assert nearest_miss([GOOD]) is None


def test_trials_are_read_as_they_were_written():
    trial = replace(GOOD, pose=(1.0,) * 16, field_mm=80.0)
    assert GateTrial.of(json.loads(json.dumps(trial.content()))) == trial
    older = {name: value for name, value in GOOD.content().items() if name != 'pose'}
    assert GateTrial.of(json.loads(json.dumps(older))) == GOOD
