"""The progress bar: on a terminal only, and gone at the end."""

import io

from rich.console import Console

from sph_reg_ros.cli.progress import counted_bar, progress_bar, text_of
from sph_reg_ros.registration.result import Progress

STATE = Progress('refine 64 px', 12, loss=0.0312, best_loss=0.03, elapsed_s=0.4)


def test_a_state_is_told_in_one_line():
    text = text_of(STATE)
    assert text == 'refine 64 px  iteration 12  similarity 0.9688'
    assert text_of('reading the CT') == 'reading the CT'


def test_a_terminal_shows_what_is_reported():
    screen = io.StringIO()
    with progress_bar(Console(file=screen, force_terminal=True, width=120)) as report:
        report('reading the CT')
        report(STATE)
    assert 'iteration 12' in screen.getvalue()


def test_where_there_is_no_terminal_nothing_is_written(capsys):
    with progress_bar() as report:
        report(STATE)
    assert capsys.readouterr() == ('', '')


def test_what_can_be_counted_is_shown_with_the_time_left():
    screen = io.StringIO()
    with counted_bar('images', Console(file=screen, force_terminal=True, width=120)) as report:
        report(3, 10)
    assert 'images' in screen.getvalue() and '3/10' in screen.getvalue()
    assert 'left' in screen.getvalue()


def test_counts_are_not_written_where_there_is_no_terminal(capsys):
    with counted_bar('images') as report:
        report(3, 10)
    assert capsys.readouterr() == ('', '')
