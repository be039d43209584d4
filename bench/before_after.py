"""Verified registrations by this checkout and by one of another commit, case by case in turn.

Both register the same simulated X-rays from the same starts, each in a process of its own that has
loaded the CT and registered once. Printed: seconds with all checks, torch operations and reads of
single numbers a registration, errors, verdicts. The other checkout is made by
`git worktree add --detach FOLDER COMMIT`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _methods import search_config
from register import CTS

from sph_reg_ros.evaluation.cases import BenchCT, Case, CaseMaker
from sph_reg_ros.evaluation.path_cache import PathCache, default_cache_folder
from sph_reg_ros.evaluation.protocols import PROTOCOLS, Protocol
from sph_reg_ros.evaluation.trials import SUCCESS_MM, MethodResult, judge
from sph_reg_ros.imaging.sample_ct import sample_ct_path

HERE = Path(__file__).parents[1]
CHILD = Path(__file__).with_name('_registration_child.py')
LIMITS = {'near': 0.35, 'far': 0.7}
"""Aims in seconds, chest CT."""
MOST_OPERATIONS, MOST_READS = 3000, 60


@dataclass
class Program:
    """A checkout that registers, and what it answered.

    Attributes:
        name: to print.
        process: that registers.
        answers: to `time`, in the order of the cases.
        counted: answers to `count`.
    """

    name: str
    process: subprocess.Popen
    answers: list[dict[str, Any]] = field(default_factory=list)
    counted: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def start(cls, name: str, checkout: Path, ct: Path, cases: Path) -> 'Program':
        """Start the process and wait until it is ready."""
        process = subprocess.Popen(
            [sys.executable, str(CHILD), str(ct), str(cases)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {'PYTHONPATH': str(checkout)},
        )
        program = cls(name, process)
        program._answer()
        program.ask('time', 0)  # compiles, and coarsens the CT
        return program

    def ask(self, what: str, number: int) -> dict[str, Any]:
        """Return the answer to one line."""
        assert self.process.stdin is not None
        print(what, number, file=self.process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f'{self.name} ended: see above')
        return json.loads(line)

    def figures(self, cases: list[Case], bench_ct: BenchCT) -> dict[str, Any]:
        """Return medians over all cases, and counts."""
        pairs = zip(cases, self.answers, strict=True)
        trials = [judge(case, bench_ct, _outcome(answer)) for case, answer in pairs]
        right = [trial.within(SUCCESS_MM) for trial in trials]
        verified = [trial.verified for trial in trials]
        return {
            'seconds': statistics.median(a['seconds'] for a in self.answers),
            'slowest': max(a['seconds'] for a in self.answers),
            'operations': statistics.median(a['operations'] for a in self.counted),
            'reads': statistics.median(a['reads'] for a in self.counted),
            'mtre_mm': statistics.median(trial.error.mtre_mm for trial in trials),
            'below_2_mm': sum(right),
            'verified_right': sum(v and r for v, r in zip(verified, right, strict=True)),
            'verified_wrong': sum(v and not r for v, r in zip(verified, right, strict=True)),
        }


def main() -> None:
    """Print a table; with --strict exit 1 where an aim for the chest CT is missed."""
    arguments = _arguments()
    rows = []
    for name in arguments.ct:
        path = CTS[name] or sample_ct_path()
        if not path.exists():
            print(f'{name}: {path.name} is not here, left out')
            continue
        bench_ct = BenchCT.load(path)
        for protocol in (PROTOCOLS[key] for key in arguments.protocol):
            rows += _measure(name, path, bench_ct, protocol, arguments)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + '\n')
    missed = [text for row in rows if row['program'] == 'after' for text in _missed(row)]
    print('; '.join(missed) or 'no aim is missed')
    if arguments.strict and missed:
        sys.exit(1)


def _measure(
    name: str, path: Path, bench_ct: BenchCT, protocol: Protocol, arguments: argparse.Namespace
) -> list[dict[str, Any]]:
    maker = CaseMaker(protocol, arguments.condition, PathCache(arguments.cache))
    cases = list(maker.cases(bench_ct, range(arguments.cases)))
    checkouts = {'before': arguments.before, 'after': HERE}
    with tempfile.TemporaryDirectory() as folder:
        stored = Path(folder) / 'cases.npz'
        _store(cases, protocol, stored)
        programs = [
            Program.start(label, checkout, path, stored)
            for label, checkout in checkouts.items()
            if checkout is not None
        ]
        for number in range(len(cases)):
            # Who begins changes, so that neither always follows the other.
            for program in programs[:: 1 if number % 2 else -1]:
                program.answers.append(program.ask('time', number))
        for program in programs:
            counted = range(min(len(cases), arguments.counted))
            program.counted = [program.ask('count', number) for number in counted]
            program.process.communicate()
    print(f'\n{name}, {protocol.name}, {arguments.condition}, {len(cases)} cases')
    print(f'{"":<8}{"s":>8}{"slowest":>9}{"operations":>12}{"reads":>8}{"mTRE mm":>9}  < 2 mm'
          '  VERIFIED right, wrong')  # fmt: skip
    rows = []
    for program in programs:
        row = program.figures(cases, bench_ct)
        rows.append({'ct': name, 'protocol': protocol.name, 'program': program.name, **row})
        print(
            f'{program.name:<8}{row["seconds"]:8.2f}{row["slowest"]:9.2f}{row["operations"]:12.0f}'
            f'{row["reads"]:8.0f}{row["mtre_mm"]:9.2f}{row["below_2_mm"]:8}'
            f'{row["verified_right"]:8}, {row["verified_wrong"]}',
            flush=True,
        )
    if len(programs) == 2:
        pairs = zip(*(program.answers for program in programs), strict=True)
        ratio = statistics.median(b['seconds'] / a['seconds'] for b, a in pairs)
        print(f'{"ratio":<8}{ratio:8.2f} times faster, case by case')
    return rows


def _outcome(answer: dict[str, Any]) -> MethodResult:
    pose = torch.tensor(answer['pose'], dtype=torch.float64)
    return MethodResult(pose, answer['seconds'], 0, verdict=answer['verdict'])


def _store(cases: list[Case], protocol: Protocol, path: Path) -> None:
    config = search_config(protocol)
    widths = (config.search_rotation_rad, config.search_in_plane_mm, config.search_depth_mm)
    views = [case.view for case in cases]
    everywhere = torch.ones_like(views[0].line_integrals, dtype=torch.bool)
    np.savez(
        path,
        images=torch.stack([view.line_integrals for view in views]).numpy(),
        masks=torch.stack([everywhere if v.mask is None else v.mask for v in views]).numpy(),
        K=torch.stack([case.camera.K for case in cases]).numpy(),
        starts=torch.stack([case.start.camera_from_ct for case in cases]).numpy(),
        widths=np.array([widths] * len(cases)),
    )


def _missed(row: dict[str, Any]) -> list[str]:
    if row['ct'] != 'chest':
        return []
    figures = (
        ('s', row['seconds'], LIMITS.get(row['protocol'])),
        ('operations', row['operations'], MOST_OPERATIONS),
        ('reads', row['reads'], MOST_READS),
    )
    return [
        f'{row["protocol"]}: {value:.3g} {unit}, aim {limit}'
        for unit, value, limit in figures
        if limit is not None and value > limit
    ]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('--before', type=Path, help='checkout of another commit; this one alone if not given')
    add('--ct', nargs='+', choices=CTS, default=['chest'], help='which CTs')
    add('--protocol', nargs='+', choices=PROTOCOLS, default=list(LIMITS), help='where to start')
    add('--condition', choices=('clean', 'disturbed'), default='clean', help='which X-rays')
    add('--cases', type=int, default=20, help='cases of each protocol')
    add('--counted', type=int, default=3, help='cases whose operations are counted')
    add('--quick', action='store_true', help='four cases, one of them counted')
    add('--json', type=Path, help='file for all figures')
    add('--strict', action='store_true', help='exit 1 where an aim is missed')
    add('--cache', type=Path, default=default_cache_folder(), help='folder of path integrals')
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.cases, arguments.counted = 4, 1
    if arguments.cases < 1 or arguments.counted < 1:
        parser.error('--cases and --counted must be at least 1')
    return arguments


if __name__ == '__main__':
    main()
