"""In which folders networks are looked for."""

import subprocess
import sys
from pathlib import Path

import pytest

from sph_reg_ros.errors import ErrorCode, WeightsError
from sph_reg_ros.networks import shipped
from sph_reg_ros.networks.shipped import weights_folders

SHARED = 'share/sph_reg_ros/models'


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    """Put the software where it has no networks."""
    monkeypatch.setattr(shipped, '_PACKAGE', tmp_path / 'code/sph_reg_ros')
    monkeypatch.setattr(shipped.sys, 'prefix', str(tmp_path / 'python'))
    monkeypatch.delenv('AMENT_PREFIX_PATH', raising=False)


def made(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


def test_software_without_networks_is_no_error():
    assert weights_folders() == ()


def test_a_folder_of_the_user_comes_before_what_comes_with_the_software(tmp_path, monkeypatch):
    monkeypatch.setenv('AMENT_PREFIX_PATH', f'{tmp_path / "ros"}::{tmp_path / "absent"}')
    own, python, ros = (
        made(tmp_path / name) for name in ('own', f'python/{SHARED}', f'ros/{SHARED}')
    )
    checkout = made(tmp_path / 'code/models')
    (tmp_path / 'code/package.xml').touch()
    assert weights_folders(own) == (own, checkout, python, ros)


def test_models_beside_an_installed_package_are_not_ours(tmp_path):
    made(tmp_path / 'code/models')
    assert weights_folders() == ()


@pytest.mark.parametrize(
    'place', ['lib/python3.11/site-packages', 'local/lib/python3.10/dist-packages', '']
)
def test_every_scheme_of_pip_is_known(tmp_path, monkeypatch, place):
    models = made(tmp_path / 'prefix' / SHARED)
    monkeypatch.setattr(shipped, '_PACKAGE', tmp_path / 'prefix' / place / 'sph_reg_ros')
    assert weights_folders() == (models,)


def test_a_linked_folder_is_looked_into_once(tmp_path, monkeypatch):
    models = made(tmp_path / 'python' / SHARED)
    made(tmp_path / 'ros/share/sph_reg_ros')
    (tmp_path / 'ros' / SHARED).symlink_to(models)
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(tmp_path / 'ros'))
    assert weights_folders() == (models,)


def test_a_folder_of_the_user_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(WeightsError, match='absent') as caught:
        weights_folders(tmp_path / 'absent')
    assert caught.value.code == ErrorCode.WEIGHTS_MISSING


def test_nothing_heavy_is_imported_to_look():
    script = (
        'import sys; from sph_reg_ros.networks.shipped import weights_folders; weights_folders();'
        'sys.exit("torch" in sys.modules)'
    )
    assert subprocess.run([sys.executable, '-c', script], check=False).returncode == 0
