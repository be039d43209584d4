"""Measures what the project promises, and writes docs/reliability.md.

Each promise has tests. They run with the full number of repetitions and record their figures; what
is not measured now keeps its last figure and date. Promises without a figure are not kept.
"""

import argparse
import datetime
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
PAGE = REPOSITORY / 'docs' / 'reliability.md'
NOT_MEASURED, NO_DATE = 'not measured', '-'
HEAD = """# Reliability

Written by `make reliability`; `make reliability PROMISES='P5 P12'` measures some again. The tests
are the same as those of `make test`, with the full number of repetitions. A promise without a
figure is not kept. "0 failures in N" bounds the rate by about 3/N at 95 %.

| promise | command | last value | date |
|---|---|---|---|
"""
ROW = re.compile(r'^\| (P\d+): .* \| (.+) \| (.+) \|$', re.MULTILINE)


@dataclass(frozen=True)
class Promise:
    """One promise: its number, what is promised, and how that is measured.

    Attributes:
        number: e.g. 'P5'.
        text: the promise.
        tests: pytest arguments; none if it is measured in another way, or not at all.
        elsewhere: command that measures it, if no test does.
    """

    number: str
    text: str
    tests: str = ''
    elsewhere: str = ''

    @property
    def command(self) -> str:
        """Return what to type."""
        if self.tests:
            return f'`make reliability PROMISES={self.number}`'
        return f'`{self.elsewhere}`' if self.elsewhere else 'none'


PATIENT = 'test/ros/test_reliability_patient.py'
INPUTS = 'test/ros/test_reliability_inputs.py'
GRAPH = 'test/ros/test_reliability_graph.py'
MIDDLEWARE = 'test/ros/test_reliability_middleware.py'
LIFECYCLE = 'test/ros/test_node_lifecycle.py'
ISOLATED = 'test/imaging/sandbox/test_isolated.py'
PROMISES = (
    Promise('P1', 'no wrong pose of 3000 is VERIFIED', '', 'bench/gate.py'),
    Promise('P2', 'on real data at most 1 % of wrong poses VERIFIED, 90 % of right ones accepted'),
    Promise('P3', 'the 95 % error bound covers the truth in 93 % of 500', '', 'bench/gate.py'),
    Promise('P4', 'a result carries all that is needed to judge it',
            'test/ros/test_node.py -k carries_all'),
    Promise('P5', 'stale 100 ms after the end of validity; no transform afterwards',
            f'{PATIENT} -k "fresh_patient or old_patient or reach"'),
    Promise('P6', 'crop, storage order, resampling and LPS/RAS leave the pose within 0.01 mm',
            'test/registration/test_equivariance.py -k same_answer'),
    Promise('P7', '48 corrupted affines of the CT: none VERIFIED',
            'test/registration/test_equivariance.py -k corrupted'),
    Promise('P8', '20 corrupted cameras refused before the worker', f'{INPUTS} -k camera'),
    Promise('P9', 'after kill -9 no transform until the next verification',
            f'{PATIENT} -k killed_node'),
    Promise('P10', 'metres to millimetres and back to 1e-9; millimetres by mistake refused',
            f'{INPUTS} -k billionth'),
    Promise('P11', 'one view knows its depth three times worse than the rest, two at most twice',
            'test/registration/test_depth.py'),
    Promise('P12', '10 000 random images: no crash, the next good one is registered',
            f'{INPUTS} {GRAPH} -k "any_image or strangers"'),
    Promise('P13', 'bad stamps and frames refused and counted, one warning in 5 s',
            f'{INPUTS} {GRAPH} -k "another_time or throttled or strangers"'),
    Promise('P14', 'initial poses that are no rigid transform refused',
            f'{INPUTS} -k initial_pose'),
    Promise('P15', '30 broken DICOM series: a typed error each within 10 s of processor time',
            f'{ISOLATED} -k broken'),
    Promise('P16', '50 000 mutated DICOM files: no crash', f'{ISOLATED} -k mutants'),
    Promise('P17', 'weights are safetensors with a pinned hash; nothing read is executed',
            'test/test_layering.py test/networks/test_weights.py'),
    Promise('P18', '5000 random sets of parameters: taken or refused with a reason',
            f'{INPUTS} -k parameters'),
    Promise('P19', '1024 x 1024 at 15 Hz for 10 minutes: memory flat, services answer in 100 ms',
            'test/ros/test_reliability_load.py'),
    Promise('P20', '8 hours without restart or leak'),
    Promise('P21', 'time from image to result per device', '', 'make bench BENCH=register'),
    Promise('P22', 'cancelled within 250 ms; 1000 goals, none stuck', f'{GRAPH} -k cancelled'),
    Promise('P23', '1000 lifecycle cycles; signals end the node from every state',
            f'{LIFECYCLE} -k "cycle or signal or shared_memory"'),
    Promise('P24', 'a lost worker is noticed in 2 s and replaced, the patient withdrawn',
            f'{PATIENT} -k worker'),
    Promise('P25', 'publisher restarts, late joiners, jumps of the clock, 30 % packet loss, '
            'bursts, two publishers and unfit QoS are survived or named',
            f'{GRAPH} {MIDDLEWARE} -k "starts_again or late_comer or jumps or 30_percent or '
            'two_publishers or burst or initial_pose_is_heard or warned_of or ruled_out"'),
    Promise('P26', 'the SROS 2 policy lists exactly what the node offers', f'{GRAPH} -k policy'),
    Promise('P27', 'a bag replayed twice gives the same table',
            'test/replay/test_replay.py -k same_csv'),
    Promise('P28', 'without parameters nothing is published', f'{GRAPH} -k without_parameters'),
    Promise('P29', 'only allowed paths are read; no patient name in logs and messages',
            f'{GRAPH} -k "path or name"'),
    Promise('P30', 'no network at run time', f'{MIDDLEWARE} -k without_a_network'),
    Promise('P31', 'dependencies audited, releases signed'),
    Promise('P32', '90 % of the core covered by tests, 95 % of what validates and verifies',
            'test/test_coverage.py'),
)  # fmt: skip


def measure(promise: Promise) -> str:
    """Run the tests of a promise; return its figures, or how it was broken."""
    with tempfile.NamedTemporaryFile('r', encoding='utf-8') as figures:
        command = [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider']
        environment = os.environ | {'RELIABILITY_RECORD': figures.name}
        print(f'{promise.number}: {promise.text}', flush=True)
        done = subprocess.run(
            [*command, *words(promise.tests)], cwd=REPOSITORY, env=environment, check=False
        )
        values = [json.loads(line) for line in figures]
    if done.returncode:
        return f'**broken**: pytest ended with {done.returncode}'
    texts = [label.removeprefix(promise.number).strip() + ': ' + text for label, text in values
             if label.split()[0] == promise.number]  # fmt: skip
    return '; '.join(text.removeprefix(': ') for text in texts) or 'kept'


def words(arguments: str) -> list[str]:
    """Split a command line, with double quotes around what belongs together."""
    return [quoted or plain for quoted, plain in re.findall(r'"([^"]*)"|(\S+)', arguments)]


def last_values(page: str) -> dict[str, tuple[str, str]]:
    """Return value and date of each promise on a page."""
    rows = ROW.findall(page)
    return {number: (value, date) for number, value, date in rows if date != NO_DATE}


def page_of(values: dict[str, tuple[str, str]]) -> str:
    """Return the page."""
    rows = []
    for promise in PROMISES:
        value, date = values.get(promise.number, (NOT_MEASURED, NO_DATE))
        rows.append(
            f'| {promise.number}: {promise.text} | {promise.command} | {value} | {date} |\n'
        )
    return HEAD + ''.join(rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the promises that are named, or all; return 1 if one is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('promises', nargs='*', metavar='PROMISE', help='e.g. P5; all if none')
    chosen = parser.parse_args(arguments).promises
    unknown = set(chosen) - {promise.number for promise in PROMISES}
    if unknown:
        parser.error(f'there is no promise {", ".join(sorted(unknown))}')
    values = last_values(PAGE.read_text(encoding='utf-8')) if PAGE.exists() else {}
    broken = False
    for promise in PROMISES:
        if promise.tests and (not chosen or promise.number in chosen):
            value = measure(promise)
            broken |= value.startswith('**broken**')
            values[promise.number] = (value, datetime.date.today().isoformat())
            # Written each time: the whole takes hours.
            PAGE.write_text(page_of(values), encoding='utf-8')
            print(f'{promise.number}: {promise.command}: {value}', flush=True)
    return int(broken)


if __name__ == '__main__':
    raise SystemExit(main())
