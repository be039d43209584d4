import ast
import re
import runpy
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

import sph_reg_ros

REPOSITORY = Path(__file__).parents[1]


def package_xml() -> ElementTree.Element:
    return ElementTree.parse(REPOSITORY / 'package.xml').getroot()


def pyproject() -> str:
    return (REPOSITORY / 'pyproject.toml').read_text(encoding='utf-8')


def test_all_faces_of_the_package_have_one_version():
    assert re.fullmatch(r'\d+\.\d+\.\d+', sph_reg_ros.__version__)
    assert package_xml().findtext('version') == sph_reg_ros.__version__
    # pip reads the module; a second figure could only be wrong.
    assert "version = { attr = 'sph_reg_ros.__version__' }" in pyproject()
    assert "dynamic = ['version']" in pyproject()


def test_all_faces_of_the_package_have_one_name_and_licence():
    assert package_xml().findtext('name') == 'sph_reg_ros'
    assert package_xml().findtext('license') == 'Apache-2.0'
    assert "\nname = 'sph_reg_ros'" in pyproject()
    assert "\nlicense = 'Apache-2.0'" in pyproject()


def test_every_executable_starts_a_module_that_exists():
    for script in (REPOSITORY / 'scripts').iterdir():
        module = re.search(r'^from (sph_reg_ros[\w.]*) import main$', script.read_text(), re.M)
        assert module, f'{script.name} starts nothing'
        assert (REPOSITORY / (module[1].replace('.', '/') + '.py')).is_file()
        assert script.stat().st_mode & 0o111, f'{script.name} is not executable'


def test_the_environment_installs_the_torch_that_the_package_allows():
    pinned = (REPOSITORY / 'tools/requirements.txt').read_text()
    assert 'torch==2.13.0' in pinned.splitlines()
    assert "'torch>=2.1'" in pyproject()


def bounds(text: str) -> dict[str, str]:
    """Return the version specifiers of requirements, one a line, by name."""
    lines = (line.split('#')[0].strip() for line in text.splitlines())
    found = (re.fullmatch(r'([\w-]+)(.*)', line) for line in lines if line)
    return {match[1]: match[2] for match in found}


@pytest.mark.parametrize('distribution', ['humble', 'jazzy'])
def test_beside_an_installed_ros_pip_gets_what_the_package_needs_and_keeps_the_numpy(distribution):
    constraints = (REPOSITORY / f'tools/constraints/{distribution}.txt').read_text()
    listed = re.search(r'^dependencies = \[(.*?)^\]', pyproject(), re.S | re.M)[1]
    needed = bounds(re.sub("[', ]", '', listed))
    allowed = bounds(constraints)
    assert allowed.pop('setuptools') == '<80'
    assert set(allowed) == set(needed)
    for name, needs in needed.items():
        low, high = allowed[name].partition(',')[::2]
        assert version(low) >= version(needs), name
        assert not high or version(high) > version(low), name
    assert '<' in allowed['numpy']


def version(specifier: str) -> tuple[int, ...]:
    return tuple(int(part) for part in specifier.lstrip('<>=').split('.'))


def test_rosdep_is_asked_for_what_it_has():
    asked = {entry.text for entry in package_xml().iter('exec_depend')}
    known = 'jinja2 numba numpy opencv pil pydantic rich rosbags-pip torch transforms3d typer yaml'
    assert {f'python3-{name}' for name in known.split()} <= asked


def test_pip_puts_the_networks_where_the_ros_build_puts_them(tmp_path, monkeypatch):
    setuptools = pytest.importorskip('setuptools')
    card = Path('models/chest_lidc/regressor/card.json')
    (tmp_path / card).parent.mkdir(parents=True)
    (tmp_path / card).touch()
    arguments = {}
    monkeypatch.setattr(setuptools, 'setup', arguments.update)
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(REPOSITORY / 'setup.py'))
    assert arguments['data_files'] == [(f'share/sph_reg_ros/{card.parent}', [str(card)])]
    assert ' models ' in (REPOSITORY / 'CMakeLists.txt').read_text()


def test_the_package_offers_the_library_in_short_and_imports_it_lazily():
    for name in sph_reg_ros.__all__:
        assert callable(getattr(sph_reg_ros, name)), name
    stub = Path(sph_reg_ros.__file__).with_suffix('.pyi').read_text(encoding='utf-8')
    typed = {alias.name for line in ast.parse(stub).body for alias in getattr(line, 'names', ())}
    assert typed == set(sph_reg_ros.__all__)
    with pytest.raises(AttributeError, match='no_such'):
        _ = sph_reg_ros.no_such
    script = 'import sys, sph_reg_ros; sys.exit("torch" in sys.modules)'
    assert subprocess.run([sys.executable, '-c', script], check=False).returncode == 0
