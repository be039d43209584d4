"""The whole program: how it is started, how it ends."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sph_reg_ros import __version__
from sph_reg_ros.cli import app, main
from sph_reg_ros.cli.exits import EXIT_ERROR


def test_a_fault_of_ours_is_an_error_and_not_a_result_that_failed(monkeypatch, capsys):
    def broken(**options) -> None:
        raise ZeroDivisionError('planted')

    monkeypatch.setattr(sys.modules[main.__module__], 'app', broken)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == EXIT_ERROR
    assert 'ZeroDivisionError: planted' in capsys.readouterr().err


def test_the_program_says_what_it_is_and_starts_without_torch():
    script = (
        'import sys\n'
        'from sph_reg_ros.cli.app import main\n'
        'try:\n'
        '    main()\n'
        'finally:\n'
        '    assert "torch" not in sys.modules\n'
    )
    for options, text in ((['--version'], f'sph-reg {__version__}\n'), ([], 'Usage: sph-reg ')):
        command = [sys.executable, '-c', script, *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert text in done.stdout and 'AssertionError' not in done.stderr


def test_help_names_every_command():
    done = CliRunner().invoke(app, ['--help'])
    assert done.exit_code == 0
    for command in ('check', 'ct-info', 'register', 'render', 'replay', 'simulate', 'train'):
        assert f' {command} ' in done.output


@pytest.mark.skipif(not (Path(sys.prefix) / 'ros_env.sh').exists(), reason='needs make setup')
def test_the_environment_has_the_command_that_pip_would_install():
    command = Path(sys.prefix) / 'bin' / 'sph-reg'
    done = subprocess.run([command, '--version'], capture_output=True, text=True, timeout=60)
    assert done.stdout == f'sph-reg {__version__}\n', done.stderr
