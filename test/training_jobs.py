"""Trainings so small that they take a second."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from cli_files import body

from sph_reg_ros.imaging.ct.volume import CT
from sph_reg_ros.settings import from_plain
from sph_reg_ros.training.config import TrainingConfig
from sph_reg_ros.training.data import XRayGenerator
from sph_reg_ros.training.job import TrainingJob

CONFIG = Path(__file__).parents[1] / 'config'
CI_FILE = CONFIG / 'train_ci.yaml'
KINDS = ('regressor', 'similarity')


@cache
def small_ct(seed: int = 0) -> CT:
    phantom = body()
    hounsfield = phantom.hounsfield.copy()
    hounsfield[hounsfield > 0] += seed
    return CT(hounsfield, phantom.ct_from_index, f'ct{seed}')


def ci_content(**schedule: Any) -> dict[str, Any]:
    """Return train_ci.yaml as plain data, with other schedules for both networks."""
    content = yaml.safe_load(CI_FILE.read_text())
    content['run'] |= {'overlap': False, 'network_threads': 1}
    for kind in KINDS:
        content[kind]['schedule'] |= schedule
    return content


def ci_config(**schedule: Any) -> TrainingConfig:
    return from_plain(TrainingConfig, ci_content(**schedule))


def small_job(kind: str, cts: int = 1, **schedule: Any) -> TrainingJob:
    return TrainingJob(
        kind, tuple(small_ct(number) for number in range(cts)), ci_config(**schedule)
    )


def small_generator(kind: str = 'similarity', **changes: Any) -> XRayGenerator:
    return replace(small_job(kind).task('cpu').generator, **changes)
