import pytest
from training_jobs import CI_FILE, CONFIG

from sph_reg_ros.errors import ConfigError, ErrorCode
from sph_reg_ros.networks.encoder_config import PAPER, QUICK
from sph_reg_ros.networks.regressor import QUICK_REGRESSOR, RegressorConfig
from sph_reg_ros.settings import from_plain
from sph_reg_ros.training.config import TrainingConfig
from sph_reg_ros.training.config_file import read_config

FILES = sorted(CONFIG.glob('train_*.yaml'))


def test_there_is_a_file_of_each_size():
    assert {path.stem for path in FILES} == {'train_paper', 'train_quick', 'train_ci'}


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_every_file_is_accepted(path):
    assert isinstance(read_config(path), TrainingConfig)


def test_the_paper_has_the_published_sizes_and_schedules():
    config = read_config(CONFIG / 'train_paper.yaml')
    regressor, similarity = config.regressor, config.similarity
    assert regressor.network.widths == RegressorConfig().widths
    assert regressor.network.depths == (2, 2, 2, 2)
    assert (regressor.schedule.images, regressor.schedule.batch) == (500_000, 4)
    assert (regressor.schedule.optimiser, regressor.schedule.course) == ('adam', 'cosine')
    assert similarity.network == PAPER
    assert (similarity.schedule.images, similarity.schedule.batch) == (200_000, 1)
    assert (similarity.schedule.optimiser, similarity.schedule.course) == ('adamw', 'cyclic')
    assert regressor.schedule.learning_rate == similarity.schedule.learning_rate == 1e-3


def test_the_quick_one_has_the_networks_for_a_cpu():
    config = read_config(CONFIG / 'train_quick.yaml')
    assert config.similarity.network == QUICK
    network = config.regressor.network
    assert (network.widths, network.image_size) == (
        QUICK_REGRESSOR.widths,
        QUICK_REGRESSOR.image_size,
    )


def test_an_empty_file_has_all_defaults(tmp_path):
    path = tmp_path / 'empty.yaml'
    path.touch()
    assert read_config(path) == TrainingConfig()


def test_a_group_may_name_only_some_of_its_settings():
    config = from_plain(
        TrainingConfig,
        {
            'similarity': {
                'displacements': {
                    'near': {'share': 1, 'rotation_deg': 1, 'in_plane_mm': 2, 'depth_mm': 3}
                }
            }
        },
    )
    assert config.similarity.displacements.near.depth_mm == 3.0
    assert config.similarity.displacements.far == TrainingConfig().similarity.displacements.far


@pytest.mark.parametrize(
    ('content', 'expected'),
    [
        ({'regresor': {}}, 'regresor'),
        (
            {'regressor': {'schedule': {'epochs': 3}}},
            "unknown parameter 'regressor.schedule.epochs'",
        ),
        ({'run': {'seed': 'x'}}, 'run.seed'),
        ({'poses': {'primary_deg': [1.0]}}, 'poses.primary_deg'),
        ({'poses': [1, 2]}, 'poses must be a dictionary'),
        ({'randomisation': {'noise': 2.0}}, 'randomisation.noise'),
        ({'anatomy': {'energies_kev': []}}, 'energies_kev'),
        ({'imager': {'sdd_mm': 0.0}}, 'sdd_mm'),
        ({'run': {'accelerator': 'tpu'}}, 'accelerator'),
        ({'regressor': {'loss': {'geodesic': 'euler'}}}, 'geodesic'),
        ({'similarity': {'loss': {'value': 0.0, 'direction': 0.0}}}, 'must count'),
        (
            {'similarity': {'network': {'head': 'sphere'}, 'loss': {'vector': 1.0}}},
            'similarity: the losses vector',
        ),
        ([1], 'must be a dictionary'),
    ],
)
def test_what_is_wrong_is_named_with_its_group(content, expected):
    with pytest.raises(ConfigError) as error:
        from_plain(TrainingConfig, content)
    assert expected in str(error.value) and error.value.code == ErrorCode.CONFIG_INVALID


@pytest.mark.parametrize('text', ['a: [', '!!python/object:os.system {}', '\x00'])
def test_what_is_no_plain_yaml_is_refused_with_the_name_of_the_file(tmp_path, text):
    path = tmp_path / 'bad.yaml'
    path.write_text(text)
    with pytest.raises(ConfigError, match='bad.yaml'):
        read_config(path)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match='absent.yaml'):
        read_config(tmp_path / 'absent.yaml')


def test_the_one_for_continuous_integration_is_small():
    config = read_config(CI_FILE)
    assert max(config.regressor.schedule.images, config.similarity.schedule.images) < 100
