"""Everything that bench/gpu.py measures runs, at a tiny size on the CPU."""

import subprocess
import sys
from pathlib import Path

import _gpu_parts
import gpu
import pytest
import torch
from _gpu_parts import Scale
from training_jobs import small_ct

from sph_reg_ros.evaluation.cases import BenchCT

BENCH = Path(gpu.__file__)


@pytest.fixture(scope='module')
def figures(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp('cache')
        patch.setattr(_gpu_parts, 'default_cache_folder', lambda: folder)
        patch.setattr(_gpu_parts, 'find_spec', lambda name: None)
        tiny = Scale('cpu', 24, 16, 1, 1, 1, 1, (16, 48), BenchCT('phantom', small_ct()))
        return gpu.measure(tiny, list(gpu.PARTS))


def test_every_target_but_those_beside_the_peer_is_measured(figures):
    missing = {target.what for target in gpu.targets_of(figures) if target.found == 'not measured'}
    assert missing == {'image, times as fast', 'image + Jacobian, times as fast'}
    assert {n: v for n, v in figures.items() if not isinstance(v, float | int)} == {}


@pytest.mark.parametrize(
    'name',
    [
        'image, relative rms',
        'Jacobian, worst column',
        'poses apart from those of the CPU, mm',
        'other verdicts than on the CPU',
    ],
)
def test_the_same_device_twice_agrees_to_the_last_bit(figures, name):
    assert figures[name] == 0


def test_a_target_is_missed_that_was_not_measured_or_not_reached():
    targets = {t.what: t.met for t in gpu.targets_of({'with checks, ms': 51, 'no guess, ms': 199})}
    assert targets.pop('no guess, ms') and not any(targets.values())


@pytest.mark.skipif(torch.cuda.is_available(), reason='shows what a machine without a GPU says')
@pytest.mark.parametrize('strict', [False, True])
def test_without_a_gpu_it_says_so(strict):
    command = [sys.executable, BENCH, *(['--strict'] if strict else [])]
    outcome = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert outcome.returncode == int(strict)
    assert 'no CUDA device' in outcome.stdout and 'registers' in outcome.stdout
