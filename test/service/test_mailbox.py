"""The one-place mailbox."""

import threading
import time

from sph_reg_ros.service.mailbox import Mailbox


def test_the_newest_item_wins_and_the_lost_ones_are_counted():
    mailbox = Mailbox()
    for item in (1, 2, 3):
        mailbox.put(item)
    assert (mailbox.take(0.0), mailbox.dropped) == (3, 2)


def test_an_item_is_taken_once():
    mailbox = Mailbox()
    mailbox.put('x')
    assert (mailbox.take(0.0), mailbox.take(0.0), mailbox.dropped) == ('x', None, 0)


def test_a_waiting_consumer_wakes_up_at_once():
    mailbox = Mailbox()
    threading.Timer(0.05, mailbox.put, ['x']).start()
    start = time.monotonic()
    assert mailbox.take(10.0) == 'x'
    assert time.monotonic() - start < 5.0


def test_a_consumer_can_be_woken_with_nothing_and_only_once():
    mailbox = Mailbox()
    mailbox.wake()
    start = time.monotonic()
    assert mailbox.take(10.0) is None
    assert time.monotonic() - start < 5.0
    assert mailbox.take(0.05) is None
    mailbox.put('x')
    assert mailbox.take(10.0) == 'x'


def test_clearing_forgets_without_counting():
    mailbox = Mailbox()
    mailbox.put('x')
    mailbox.clear()
    assert (mailbox.take(0.0), mailbox.dropped) == (None, 0)
