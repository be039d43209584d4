"""Exit codes of the whole program."""

import sys

import pytest

from sph_reg_ros.cli import main
from sph_reg_ros.cli.exits import EXIT_ERROR


def test_a_fault_of_ours_is_an_error_and_not_a_result_that_failed(monkeypatch, capsys):
    def broken() -> None:
        raise ZeroDivisionError('planted')

    monkeypatch.setattr(sys.modules[main.__module__], 'app', broken)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == EXIT_ERROR
    assert 'ZeroDivisionError: planted' in capsys.readouterr().err
