import threading
import time

import pytest
import torch

from sph_reg_ros.training.producer import AHEAD, batches


@pytest.mark.parametrize('overlap', [False, True])
def test_batches_come_in_the_order_of_the_steps(overlap):
    with batches(lambda step: step * step, range(3, 9), overlap) as made:
        assert list(made) == [9, 16, 25, 36, 49, 64]


def test_batches_are_made_ahead_but_not_further_than_said():
    made_so_far = []
    with batches(lambda step: made_so_far.append(step) or step, range(100)) as made:
        assert next(made) == 0
        time.sleep(0.3)
        assert 1 + AHEAD <= len(made_so_far) <= 2 + AHEAD


@pytest.mark.parametrize('overlap', [False, True])
def test_what_goes_wrong_in_making_a_batch_is_raised_where_it_is_wanted(overlap):
    def make(step: int) -> int:
        if step == 2:
            raise ValueError('no batch')
        return step

    with pytest.raises(ValueError, match='no batch'), batches(make, range(5), overlap) as made:
        assert [next(made), next(made)] == [0, 1]
        next(made)


def test_the_thread_ends_when_nobody_wants_batches_any_more():
    before = threading.active_count()
    with batches(lambda step: step, range(10**9)) as made:
        next(made)
        assert threading.active_count() == before + 1
    assert threading.active_count() == before


def test_the_main_thread_keeps_its_own_number_of_threads():
    torch.set_num_threads(torch.get_num_threads())
    wanted = torch.get_num_threads()
    with batches(lambda step: torch.get_num_threads(), range(2)) as made:
        assert list(made) == [1, 1]
    assert torch.get_num_threads() == wanted
