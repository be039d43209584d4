"""Where the stamps of a bag start again, each input goes on with its own run."""

import pytest

from sph_reg_ros.replay.bag_runs import beginnings, runs_of

MS = 1_000_000
BEGIN = 1_000_000 * MS


def arrivals(name: str, stamps_ms: list[int], delay_ms: int = 0, loop_ms: int = 10_000) -> list:
    """Return an input whose stamps start again: input, stamp, arrival."""
    loops, newest, entries = 0, 0, []
    for stamp in stamps_ms:
        loops += stamp < newest - 1000
        newest = stamp
        entries.append((name, BEGIN + stamp * MS, (loops * loop_ms + stamp + delay_ms) * MS))
    return entries


def by_arrival(*inputs: list) -> list:
    return sorted((entry for one in inputs for entry in one), key=lambda entry: entry[2])


TWICE = [*range(0, 10_000, 100)] * 2


@pytest.mark.parametrize('delay_ms', [0, 150, 900])
@pytest.mark.parametrize('first', ['image', 'imager_pose'])
def test_one_restart_of_two_inputs_begins_one_run_and_parts_both(delay_ms, first):
    other = {'image': 'imager_pose', 'imager_pose': 'image'}[first]
    inputs = [arrivals(first, TWICE), arrivals(other, TWICE, delay_ms)]
    begun = beginnings(by_arrival(*inputs))
    assert begun == [10_000 * MS]
    for one in inputs:
        assert runs_of([entry[1:] for entry in one], begun) == [0] * 100 + [1] * 100


def test_three_runs_are_three():
    entries = arrivals('image', [0, 5000] * 3)
    begun = beginnings(entries)
    assert runs_of([entry[1:] for entry in entries], begun) == [0, 0, 1, 1, 2, 2]


def test_an_input_that_falls_back_a_little_before_the_others_begins_the_same_run():
    begun = beginnings(arrivals('image', TWICE, 40))
    truth = arrivals('truth', TWICE)
    assert runs_of([entry[1:] for entry in truth], begun) == [0] * 100 + [1] * 100


def test_stamps_that_are_a_little_out_of_order_or_late_begin_no_run():
    assert beginnings(arrivals('image', [0, 500, 200, 1100, 100, 3000])) == []
    late = by_arrival(arrivals('image', TWICE[:100]), arrivals('imager_pose', TWICE[:100], 30_000))
    assert beginnings(late) == []


def test_messages_without_stamp_begin_no_run_and_belong_to_that_in_which_they_came():
    entries = arrivals('image', [9000, 0, 1000])
    nothing = [(stamp, at) for at in (9001, 10_001) for stamp in (0, -1000 * MS)]
    begun = beginnings([entries[0], ('image', 0, 9001 * MS), *entries[1:]])
    assert begun == [10_000 * MS]
    assert runs_of([(stamp, at * MS) for stamp, at in nothing], begun) == [0, 0, 1, 1]


def test_an_input_that_does_not_fall_back_follows_after_a_second():
    begun = beginnings(arrivals('image', TWICE))
    rare = [(BEGIN + 500 * MS, 500 * MS), (BEGIN + 4000 * MS, 14_000 * MS)]
    assert runs_of(rare, begun) == [0, 1]
