from dataclasses import asdict

import pytest
from _ablations import begins_with_regressor, trained_in, variants, weights_in
from training_jobs import CONFIG, ci_config

from sph_reg_ros.training.config_file import read_config


@pytest.mark.parametrize('file', ['train_quick.yaml', 'train_ci.yaml'])
def test_all_variants_of_a_file_are_valid_and_see_as_many_xrays(file):
    found = variants(read_config(CONFIG / file), 96)
    assert {config.similarity.schedule.images for config in found.values()} == {96}


def changed(first: dict, second: dict, name: str = '') -> set[str]:
    """Return the dotted names of settings that differ."""
    names = set()
    for key, value in first.items():
        dotted = f'{name}.{key}'.lstrip('.')
        if isinstance(value, dict):
            names |= changed(value, second[key], dotted)
        elif value != second[key]:
            names.add(dotted)
    return names


@pytest.mark.parametrize(
    ('name', 'beside', 'wanted'),
    [
        ('value', 'both', {'similarity.loss.direction'}),
        ('euclidean', 'both', {'similarity.network.head'}),
        ('sphere', 'both', {'similarity.network.head'}),
        ('scratch', 'default', set()),
    ],
)
def test_variants_differ_in_one_thing(name, beside, wanted):
    found = {key: asdict(value) for key, value in variants(ci_config(), 48).items()}
    assert changed(found[beside], found[name]) == wanted


def test_nothing_is_random_without_randomisation():
    found = variants(ci_config(), 48)
    assert set(asdict(found['no_randomisation'].randomisation).values()) == {0.0}
    assert any(asdict(found['default'].randomisation).values())


def test_the_direction_alone_counts_for_all_images():
    loss = variants(ci_config(), 48)['direction'].similarity.loss
    assert loss.value == loss.all_pairs == loss.pose == 0.0
    assert loss.slope_share == 1.0


def test_trainings_from_scratch_begin_with_no_regressor():
    names = variants(ci_config(), 48)
    assert [name for name in names if not begins_with_regressor(name)] == [
        'scratch',
        'scratch_no_randomisation',
    ]


def test_weights_are_found_in_the_folder_of_a_training(tmp_path):
    (tmp_path / 'a' / 'weights').mkdir(parents=True)
    (tmp_path / 'a' / 'weights' / 'card.json').touch()
    (tmp_path / 'unfinished').mkdir()
    assert weights_in(tmp_path / 'a') == tmp_path / 'a' / 'weights'
    assert weights_in(tmp_path / 'unfinished') == tmp_path / 'unfinished'
    assert list(trained_in(tmp_path)) == [('a', tmp_path / 'a')]
