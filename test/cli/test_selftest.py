"""sph-reg selftest on a small study."""

import json

import numpy as np
from localizer_files import FRONTAL, SIDE, ge, localizer_dataset, siemens, write_study
from PIL import Image
from typer.testing import CliRunner

from sph_reg_ros.cli import app


def run(*options):
    return CliRunner().invoke(app, ['selftest', *(str(part) for part in options)])


def test_every_localizer_of_a_study_is_tried_and_shown(tmp_path):
    localizers = (localizer_dataset(FRONTAL, ge), localizer_dataset(SIDE, siemens))
    study, output = write_study(tmp_path / 'study', *localizers), tmp_path / 'out'
    config = tmp_path / 'config.yaml'
    config.write_text('levels: [32, 64]\nstarts: 0\n')
    found = run(
        study, '--tries', 1, '--rotation', 3, '--shift', 5, '--output', output, '--config', config
    )
    content = json.loads((output / 'selftest.json').read_text())
    frontal, side = content['localizers']
    assert frontal['localizer'] == "AP or PA localizer, source at the patient's front"
    for localizer in (frontal, side):
        assert localizer['share_found'] == 1 and abs(localizer['error']['across_mm']) < 0.5
    assert frontal['mirrored_gain'] > 0 and side['mirrored_gain'] is None
    verified = all(localizer['verdict'] == 'VERIFIED' for localizer in (frontal, side))
    assert content['passed'] == verified and found.exit_code == (0 if verified else 1)
    assert 'by 100% of 1 starts, each turned by 3 degrees and shifted by 5 mm' in found.stdout
    assert 'header       neither TubeAngle (0018,9303) nor AngularPosition' in found.stdout
    assert "the scanner's own pose" in found.stdout and 'nominal' in found.stdout
    picture = np.asarray(Image.open(output / 'selftest_2.png'))
    third = picture.shape[1] // 3
    # Grey twice; edges of the rendering in colour over the localizer.
    grey = [np.ptp(picture[:, n * third : (n + 1) * third], axis=2).max() for n in range(3)]
    assert grey[0] == grey[1] == 0 and grey[2] > 100


def test_a_study_without_a_localizer_is_an_error_that_says_so(tmp_path):
    found = run(write_study(tmp_path / 'study'), '--json')
    assert found.exit_code == 2
    assert json.loads(found.stdout)['error'] == 'IMAGE_MISSING'
    assert 'give the folder of the whole study' in found.stderr
