"""How much of the core the tests reach; part of `make reliability` only, as it runs them all."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from reliability import RECORD, record

pytest.importorskip('coverage', reason='coverage is not installed')

REPOSITORY = Path(__file__).parents[1]
CORE, CRITICAL = 90.0, 95.0
CRITICAL_PARTS = ('registration/gate', 'imaging', 'geometry', 'errors.py')
# No tracer sees what numba and triton compile.
SETTINGS = """
[run]
source = sph_reg_ros
omit = */sph_reg_ros/ros/*, */sph_reg_ros/demo/*, */sph_reg_ros/messages/*, */sph_reg_ros/service/*
parallel = true
patch = subprocess, _exit
[report]
exclude_also =
    @njit
    @intrinsic
    @triton.jit
"""
WITHOUT_ROS = ['--ignore', 'test/ros', '--ignore', __file__, '-m', 'not ros and not ros_full']


@pytest.mark.slow
@pytest.mark.skipif(not RECORD, reason='runs all other tests once more')
def test_tests_reach_nearly_all_lines_of_the_core(tmp_path):
    settings = tmp_path / 'coveragerc'
    settings.write_text(SETTINGS + f'[paths]\nsource = {REPOSITORY}\n')
    environment = os.environ | {
        'COVERAGE_FILE': str(tmp_path / 'data'),
        'COVERAGE_RCFILE': str(settings),
        'RELIABILITY_RECORD': '',
    }

    def coverage(*words: str) -> None:
        command = [sys.executable, '-m', 'coverage', *words]
        subprocess.run(command, cwd=REPOSITORY, env=environment, check=True)

    coverage('run', '-m', 'pytest', '-q', '-p', 'no:cacheprovider', *WITHOUT_ROS)
    coverage('combine')
    coverage('json', '-o', str(tmp_path / 'report.json'))
    files = json.loads((tmp_path / 'report.json').read_text())['files']
    core = covered_percent(files)
    critical = covered_percent(
        {name: file for name, file in files.items() if any(part in name for part in CRITICAL_PARTS)}
    )
    record('P32', f'{core:.1f} % of the lines of the core (limit {CORE:g}), {critical:.1f} % of '
           f'imaging, geometry, errors and verification (limit {CRITICAL:g})')  # fmt: skip
    assert core >= CORE and critical >= CRITICAL


def covered_percent(files: dict) -> float:
    """Return the share of lines that were run."""
    summaries = [file['summary'] for file in files.values()]
    lines = sum(summary['num_statements'] for summary in summaries)
    return 100 * sum(summary['covered_lines'] for summary in summaries) / lines
