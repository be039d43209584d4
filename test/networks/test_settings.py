from dataclasses import asdict, dataclass

import pytest

from sph_reg_ros.errors import ConfigError
from sph_reg_ros.networks.settings import settings_from


@dataclass(frozen=True)
class Settings:
    """One of each type."""

    count: int = 1
    rate: float = 0.5
    name: str = 'a'
    flag: bool = False
    sizes: tuple[int, ...] = (1, 2)
    pair: tuple[float, float] = (0.0, 1.0)


def test_settings_survive_the_way_through_plain_data():
    settings = Settings(3, 0.1, 'b', True, (4,), (2.0, 3.0))
    plain = {**asdict(settings), 'sizes': [4], 'pair': [2.0, 3]}
    assert settings_from(Settings, plain) == settings
    assert settings_from(Settings, {}) == Settings()


def test_whole_numbers_may_stand_for_real_ones():
    assert settings_from(Settings, {'rate': 1}) == Settings(rate=1.0)
    assert type(settings_from(Settings, {'rate': 1}).rate) is float


@pytest.mark.parametrize(
    'wrong',
    [
        {'count': 1.5},
        {'count': '1'},
        {'count': True},
        {'rate': 'fast'},
        {'rate': None},
        {'name': 3},
        {'flag': 1},
        {'sizes': 5},
        {'sizes': [1, 'a']},
        {'pair': [1.0]},
        {'pair': [1.0, 2.0, 3.0]},
    ],
    ids=str,
)
def test_a_value_of_another_type_is_refused_by_name(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        settings_from(Settings, wrong)


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match='unknown: colour; known are count, rate'):
        settings_from(Settings, {'colour': 'red'})
