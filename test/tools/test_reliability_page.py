"""The page of measured promises."""

import importlib.util
import sys
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / 'tools' / 'reliability.py'


@pytest.fixture(scope='module')
def tool():
    spec = importlib.util.spec_from_file_location('reliability_tool', PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_every_promise_is_listed_and_those_without_a_figure_say_so(tool):
    page = tool.page_of({'P5': ('97 ms', '2026-01-02')})
    assert page.count(tool.NOT_MEASURED) == len(tool.PROMISES) - 1
    assert [f'P{n}' for n in range(1, 33)] == [promise.number for promise in tool.PROMISES]


def test_figures_survive_when_other_promises_are_measured_again(tool):
    values = {'P5': ('97 ms; 0 of 100', '2026-01-02'), 'P12': ('**broken**', '2026-01-03')}
    assert tool.last_values(tool.page_of(values)) == values


def test_quoted_words_stay_together(tool):
    assert tool.words('a.py -k "one or two"') == ['a.py', '-k', 'one or two']


def test_the_tests_that_measure_a_promise_exist(tool):
    for promise in tool.PROMISES:
        for word in tool.words(promise.tests):
            assert not word.endswith('.py') or (PATH.parents[1] / word).is_file(), word


def test_an_unknown_promise_is_refused(tool, capsys):
    with pytest.raises(SystemExit):
        tool.main(['P99'])
    assert 'P99' in capsys.readouterr().err
