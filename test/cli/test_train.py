import json
import re

import pytest
import yaml
from rich.console import Console
from training_jobs import CI_FILE
from typer.testing import CliRunner

from sph_reg_ros.cli import app
from sph_reg_ros.cli.train_progress import duration, text_of, training_bar
from sph_reg_ros.networks import weights
from sph_reg_ros.training.progress import TrainingProgress

PROGRESS = TrainingProgress(
    step=20,
    steps=80,
    losses={'loss': 1.5, 'value': 1.25},
    accuracy={'correlation': 0.875},
    images_per_s=123.4,
    seconds_left=3723.0,
    seconds_a_step={'network': 0.05, 'rendering': 0.025},
)


def train(files, *options):
    command = ['train', *options, '--ct', files / 'ct.nii.gz']
    return CliRunner().invoke(app, [str(part) for part in command])


@pytest.mark.parametrize('network', ['regressor', 'similarity'])
def test_a_network_is_trained_from_files(files, tmp_path, network):
    done = train(files, network, '--config', CI_FILE, '--output', tmp_path / 'new' / 'out')
    assert done.exit_code == 0, done.output
    assert 'done: 12 steps' in done.stdout and 'on held-out X-rays' in done.stdout
    _, card = weights.load(tmp_path / 'new' / 'out' / 'weights')
    assert card.kind == network
    lines = (tmp_path / 'new' / 'out' / 'history.jsonl').read_text().splitlines()
    assert [json.loads(line)['step'] for line in lines] == [4, 6, 8, 12, 12]


def test_a_finished_training_is_only_gone_on_with_if_asked_to(files, tmp_path):
    options = ('regressor', '--config', CI_FILE, '--output', tmp_path)
    assert train(files, *options).exit_code == 0
    again = train(files, *options)
    assert again.exit_code == 2 and '--resume' in again.stderr
    assert train(files, *options, '--resume').exit_code == 0


def test_a_similarity_begins_with_the_filters_of_a_regressor(files, tmp_path):
    first, second = tmp_path / 'regressor', tmp_path / 'similarity'
    assert train(files, 'regressor', '--config', CI_FILE, '--output', first).exit_code == 0
    options = ('similarity', '--config', CI_FILE, '--output', second, '--licence', 'CC0-1.0')
    done = train(files, *options, '--start', first / 'weights')
    assert done.exit_code == 0, done.output
    card = weights.load(second / 'weights')[1]
    assert card.training['start'] == weights.load(first / 'weights')[1].sha256
    assert card.licence == 'CC0-1.0'
    other = train(files, *options, '--start', second / 'weights')
    assert other.exit_code == 2 and 'a regressor is needed' in other.stderr


def test_two_cts_train_a_network_for_any(files, tmp_path):
    content = yaml.safe_load(CI_FILE.read_text())
    content['regressor']['schedule'] |= {'images': 8}
    config = tmp_path / 'config.yaml'
    config.write_text(yaml.safe_dump(content))
    done = train(
        files, 'regressor', '--ct', files / 'dicom', '--config', config, '--output', tmp_path
    )
    assert done.exit_code == 0, done.output
    assert weights.load(tmp_path / 'weights')[1].kind == 'agnostic_regressor'


@pytest.mark.parametrize(
    ('change', 'expected'),
    [
        ({'network': 'segmenter'}, 'segmenter'),
        ({'config': 'absent.yaml'}, 'absent.yaml'),
        ({'content': {'sedd': 1}}, 'sedd'),
        ({'ct': 'absent.nii'}, 'absent.nii'),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_written(files, tmp_path, change, expected):
    config = tmp_path / 'config.yaml'
    config.write_text(yaml.safe_dump(change.get('content', {})))
    options = [change.get('network', 'regressor'), '--output', tmp_path / 'out']
    options += ['--config', tmp_path / change.get('config', 'config.yaml')]
    options += ['--ct', tmp_path / change['ct']] if 'ct' in change else []
    done = train(files, *options)
    assert done.exit_code == 2 and expected in done.stderr
    assert not (tmp_path / 'out').exists()


def test_the_line_says_how_far_how_fast_and_how_good():
    text = text_of(PROGRESS)
    for part in ('20/80', '1:02:03 left', '123 images/s', 'loss 1.5', 'correlation 0.875'):
        assert part in text
    assert 'network 50' in text and 'rendering 25' in text and text.endswith('ms)')
    assert duration(59.6) == '0:01:00'


def test_a_terminal_shows_a_bar_and_a_file_a_line(capsys):
    console = Console(force_terminal=True, width=200)
    with training_bar(console=console) as report:
        report(PROGRESS)
    assert '20/80' in re.sub(r'\x1b\[[0-9;?]*[A-Za-z]', '', capsys.readouterr().out)
    with training_bar(console=Console(force_terminal=False)) as report:
        report(PROGRESS)
        report(PROGRESS)
    assert capsys.readouterr().err.count('20/80') == 1
    with training_bar(shown=False) as report:
        report(PROGRESS)
    assert capsys.readouterr() == ('', '')
