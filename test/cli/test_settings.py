"""Settings of sph-reg register: options, and --config."""

import inspect
import re
from pathlib import Path

import pytest
import yaml
from cli_files import BEAM, START, run

from sph_reg_ros.cli.register import register_command
from sph_reg_ros.cli.settings import SPECS, read_settings
from sph_reg_ros.errors import ConfigError
from sph_reg_ros.registration.config import RegistrationConfig

ONLY_IN_A_FILE = {'max_iterations', 'max_rotation_step_rad', 'max_translation_step_mm'}


def write(path: Path, content) -> Path:
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def test_every_setting_is_an_option_or_named_in_the_help_of_config():
    options = set(inspect.signature(register_command).parameters)
    assert set(SPECS) - options == ONLY_IN_A_FILE
    help_text = run('--help').output
    # The help is wrapped in a frame.
    flat = re.sub(r'[\s│]+', ' ', help_text)
    assert all(name in flat for name in ONLY_IN_A_FILE)
    assert all(choice in flat for choice in ('mapped_gradient_ncc', 'tukey', 'numba'))


def test_without_a_word_the_defaults_hold_and_there_is_no_limit_of_time():
    settings = read_settings(None, {'starts': None})
    assert settings.config == RegistrationConfig() and settings.timeout_s is None


@pytest.mark.parametrize(
    'content',
    [
        {'max_tre_mm': 2, 'levels': [32, 64], 'timeout': 7},
        {'registration': {'max_tre_mm': 2.0, 'levels': [32, 64], 'timeout': 7.0}},
        '{"max_tre_mm": 2, "levels": [32, 64], "timeout": 7}',
        {
            '/**/registration': {
                'ros__parameters': {
                    'image': {'max_age': 5.0},
                    'registration': {'max_tre_mm': 2.0, 'levels': [32, 64], 'timeout': 7.0},
                }
            }
        },
    ],
)
def test_a_file_holds_settings_alone_or_is_that_of_the_node(tmp_path, content):
    settings = read_settings(write(tmp_path / 'settings.yaml', content), {'starts': 2})
    assert settings.config == RegistrationConfig(max_tre_mm=2.0, levels=(32, 64), starts=2)
    assert settings.timeout_s == 7.0


def test_the_parameters_in_config_are_a_file_of_settings():
    settings = read_settings(Path(__file__).parents[2] / 'config' / 'registration.yaml', {})
    assert settings.config == RegistrationConfig()


def test_an_option_goes_before_the_file(tmp_path):
    path = write(tmp_path / 'settings.yaml', {'starts': 1, 'max_tre_mm': 2.0})
    settings = read_settings(path, {'starts': 3, 'max_tre_mm': None, 'levels': '16, 48'})
    assert settings.config == RegistrationConfig(starts=3, max_tre_mm=2.0, levels=(16, 48))


@pytest.mark.parametrize(
    'content, text',
    [
        ({'search_rotation': 0.3}, 'search_rotation_rad'),
        ({'max_tre_mm': 'wide'}, 'max_tre_mm must be a valid number'),
        ({'robust_kernel': 'welsch'}, 'none, huber, cauchy, tukey'),
        ({'starts': 65}, 'starts must lie in'),
        ({'registration': {}, 'image': {}}, 'registration alone'),
        ({'registration': 3}, 'registration alone'),
        ('just words', 'no keys'),
        ({'/**': {'ros__parameters': {'registration': {'starts': 65}}}}, 'starts must lie in'),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused_and_named(tmp_path, content, text):
    with pytest.raises(ConfigError, match=r'settings\.yaml') as refused:
        read_settings(write(tmp_path / 'settings.yaml', content), {})
    assert text in str(refused.value)


def test_a_missing_file_and_levels_that_are_no_numbers_are_errors(tmp_path):
    with pytest.raises(ConfigError, match='No such file'):
        read_settings(tmp_path / 'none.yaml', {})
    with pytest.raises(ConfigError, match='whole numbers with commas'):
        read_settings(None, {'levels': '32;64'})


def test_settings_reach_the_registration(files):
    options = [*BEAM, *START, '--json']
    done = files.register(*options, '--similarity', 'ncc', '--starts', 0, '--max-tre-mm', 0.2)
    assert done.exit_code == 1, done.output
    assert '"similarity": "ncc"' in done.stdout
    assert '"limit": 0.2' in done.stdout and 'POSE_UNCERTAIN' in done.stdout


def test_a_registration_ends_when_its_time_is_over(files):
    done = files.register(*BEAM, *START, '--timeout', 0.1)
    assert done.exit_code == 2
    assert 'TIMEOUT' in done.stderr and '--timeout' in done.stderr
