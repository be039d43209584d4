"""The demo's processes end with it, whatever they do."""

import os
import sys
import time
from pathlib import Path

import pytest

from sph_reg_ros.demo import processes as module
from sph_reg_ros.demo.processes import Runner


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f'/proc/{pid}/stat').read_text().split()[2] != 'Z'


def wait_for(path: Path) -> str:
    for _ in range(200):
        if path.is_file() and path.read_text():
            return path.read_text()
        time.sleep(0.05)
    raise AssertionError('the process did not start')


@pytest.mark.parametrize('ignore', ['', 'signal.signal(signal.SIGINT, signal.SIG_IGN);'])
def test_a_process_and_its_child_are_ended_even_if_they_ignore_the_signal(
    ignore, tmp_path, monkeypatch
):
    monkeypatch.setattr(module, '_GRACE_S', 1.0)
    pids = tmp_path / 'pids'
    code = (
        f'import os, signal, subprocess, time; {ignore}'
        'child = subprocess.Popen(["sleep", "60"]);'
        f'open({str(pids)!r}, "w").write(f"{{os.getpid()}} {{child.pid}}"); time.sleep(60)'
    )
    with Runner(tmp_path / 'log', {}) as runner:
        runner.start('stubborn', [sys.executable, '-c', code])
        started = [int(pid) for pid in wait_for(pids).split()]
        assert all(alive(pid) for pid in started)
        assert runner.ended() == []
    time.sleep(0.1)
    assert not any(alive(pid) for pid in started)


def test_an_early_end_is_reported_with_exit_code_and_log(tmp_path):
    with Runner(tmp_path / 'log', {'GREETING': 'hello'}) as runner:
        code = 'import os, sys; print(os.environ["GREETING"]); sys.exit(3)'
        runner.start('short', [sys.executable, '-c', code])
        for _ in range(200):
            if runner.ended():
                break
            time.sleep(0.05)
        assert runner.ended() == ['short (exit code 3)']
        assert 'hello' in runner.log_tail()
