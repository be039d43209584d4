import subprocess
import sys
from pathlib import Path

import pytest
from import_rules import (
    GENERATED,
    PACKAGE,
    REPOSITORY,
    ROS_ENDINGS,
    ROS_WORDS,
    broken_rules,
    circles,
    executed_data,
    imported_modules,
    is_ros,
    module_name,
)

WITHOUT_ROS = f"""
import importlib, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if is_ros(name):
            raise ModuleNotFoundError(name, name=name)

def is_ros(name):
    first = name.split('.')[0]
    known = first.startswith({ROS_WORDS!r}) or first.endswith({ROS_ENDINGS!r})
    return known or name in {GENERATED!r}

sys.meta_path.insert(0, Blocker())
for module in sys.argv[1:]:
    importlib.import_module(module)
assert not [name for name in sys.modules if is_ros(name)]

import torch
from sph_reg_ros.geometry import se3
assert torch.allclose(se3.log(se3.exp(torch.full((6,), 0.1))), torch.full((6,), 0.1), atol=1e-5)
"""


@pytest.fixture
def bad_module(tmp_path):
    path = tmp_path / 'sph_reg_ros' / 'imaging' / 'bad.py'
    path.parent.mkdir(parents=True)

    def write(text: str) -> Path:
        path.write_text(text)
        return path

    return write


def all_modules() -> list[Path]:
    return sorted(PACKAGE.rglob('*.py'))


@pytest.mark.parametrize(
    'text',
    [
        'from sph_reg_ros.rendering import render',
        'from sph_reg_ros import rendering',
        'import sph_reg_ros.solvers.levenberg_marquardt',
        'from ..registration import register',
        'from .. import registration',
        'def f():\n    import sph_reg_ros.rendering',
        'import rclpy.node',
        'from geometry_msgs.msg import Pose',
        'from sph_reg_ros.msg import RegistrationResult',
        'from tf2_ros import Buffer',
    ],
)
def test_the_check_of_floors_finds_what_it_looks_for(bad_module, tmp_path, text):
    assert len(broken_rules(bad_module(text), tmp_path)) == 1


def test_the_check_of_floors_keeps_replay_from_the_node(tmp_path):
    path = tmp_path / 'sph_reg_ros' / 'replay' / 'bad.py'
    path.parent.mkdir(parents=True)
    path.write_text('from sph_reg_ros.ros.node import main')
    assert len(broken_rules(path, tmp_path)) == 1


def test_the_check_of_floors_lets_imports_go_down_and_sideways(bad_module, tmp_path):
    text = (
        'import numpy\nfrom ..errors import CTError\nfrom . import ct\nimport sph_reg_ros.geometry'
    )
    assert broken_rules(bad_module(text), tmp_path) == []


@pytest.mark.parametrize('folders', [('imaging', 'imaging'), ('imaging', 'imaging/ct')])
def test_the_check_of_circles_finds_files_and_folders(tmp_path, folders):
    places = [tmp_path / 'sph_reg_ros' / folder for folder in folders]
    texts = {
        places[0] / 'a.py': f'from sph_reg_ros.{folders[1].replace("/", ".")} import b',
        places[1] / 'b.py': 'from sph_reg_ros.imaging.a import name',
        places[0] / 'c.py': 'from sph_reg_ros.imaging import a',
    }
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    [found] = circles(texts, tmp_path)
    assert 'sph_reg_ros.imaging.a' in found and 'sph_reg_ros.imaging.c' not in found


def test_no_two_files_or_folders_import_each_other():
    assert circles(all_modules()) == []


def test_every_file_of_the_ros_folder_needs_ros():
    without = [
        path.name
        for path in sorted((PACKAGE / 'ros').glob('[a-z]*.py'))
        if not any(is_ros(module) for _, module in imported_modules(path, REPOSITORY))
    ]
    assert without == []


def test_imports_never_go_up_and_only_the_ros_floor_imports_ros():
    assert [broken for path in all_modules() for broken in broken_rules(path)] == []


@pytest.mark.parametrize(
    'text',
    ['import pickle', 'torch.load(path)', 'x = eval(text)', 'numpy.load(f, allow_pickle=True)'],
)
def test_the_check_of_executed_data_finds_what_it_looks_for(bad_module, tmp_path, text):
    assert len(executed_data(bad_module(text), tmp_path)) == 1


def test_no_module_executes_what_it_reads():
    assert [found for path in all_modules() for found in executed_data(path)] == []


def core_modules() -> list[str]:
    names = [module_name(path, REPOSITORY) for path in all_modules()]
    return [name for name in names if not name.startswith(('sph_reg_ros.ros', 'sph_reg_ros.demo'))]


def import_without_ros(*modules: str) -> subprocess.CompletedProcess:
    command = [sys.executable, '-c', WITHOUT_ROS, *modules]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120)


def test_blocked_ros_cannot_be_imported():
    assert 'ModuleNotFoundError: rclpy' in import_without_ros('rclpy').stderr


def test_the_library_and_the_command_line_work_without_ros():
    outcome = import_without_ros(*core_modules())
    assert outcome.returncode == 0, outcome.stderr


@pytest.mark.ros
def test_the_node_starts_without_torch_because_only_its_worker_computes():
    script = 'import sys, sph_reg_ros.ros.node; sys.exit("torch" in sys.modules)'
    command = [sys.executable, '-c', script]
    assert subprocess.run(command, cwd=REPOSITORY, check=False).returncode == 0
