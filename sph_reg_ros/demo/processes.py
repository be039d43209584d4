"""Starts the demo's processes with a log each, and always ends them."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_GRACE_S = 10.0


class Runner:
    """Starts processes in their own process groups; ends them all on exit."""

    def __init__(self, log_folder: Path, environment: Mapping[str, str]) -> None:
        """Logs go to the folder, which is made; the environment is added to this process's own."""
        log_folder.mkdir(parents=True, exist_ok=True)
        self._folder = log_folder
        self._environment = os.environ | dict(environment)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> 'Runner':
        """Return self."""
        return self

    def __exit__(self, *_: object) -> None:
        """End everything."""
        self.stop()

    def start(self, name: str, command: Sequence[str]) -> None:
        """Start a process; what it prints goes to `<name>.log`."""
        with self._log(name).open('wb') as log:
            self._processes[name] = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )

    def ended(self) -> list[str]:
        """Return the names of processes that have ended, with their exit codes."""
        codes = {name: process.poll() for name, process in self._processes.items()}
        return [f'{name} (exit code {code})' for name, code in codes.items() if code is not None]

    def log_tail(self, lines: int = 15) -> str:
        """Return the last lines of every log."""
        tails = []
        for name in self._processes:
            text = self._log(name).read_text(encoding='utf-8', errors='replace').splitlines()
            tails.append('\n'.join([f'--- {name}: {self._log(name)}', *text[-lines:]]))
        return '\n'.join(tails)

    def stop(self) -> None:
        """Send SIGINT, wait, then SIGKILL, to the process groups."""
        for number, grace_s in ((signal.SIGINT, _GRACE_S), (signal.SIGTERM, 3.0)):
            self._signal(number)
            deadline = time.monotonic() + grace_s
            while time.monotonic() < deadline and self._running():
                time.sleep(0.05)
        # The group may outlive its first process.
        self._signal(signal.SIGKILL, all_groups=True)
        for process in self._processes.values():
            process.wait()

    def _running(self) -> list[subprocess.Popen[bytes]]:
        return [process for process in self._processes.values() if process.poll() is None]

    def _signal(self, number: signal.Signals, *, all_groups: bool = False) -> None:
        for process in self._processes.values() if all_groups else self._running():
            try:
                os.killpg(process.pid, number)
            except ProcessLookupError:
                continue

    def _log(self, name: str) -> Path:
        return self._folder / f'{name}.log'
