from dataclasses import asdict

import pytest

from sph_reg_ros.errors import ConfigError
from sph_reg_ros.settings import from_plain, settings


@settings
class Settings:
    """One of each type."""

    count: int = 1
    rate: float = 0.5
    name: str = 'a'
    flag: bool = False
    sizes: tuple[int, ...] = (1, 2)
    pair: tuple[float, float] = (0.0, 1.0)


def test_settings_survive_the_way_through_plain_data():
    made = Settings(3, 0.1, 'b', True, (4,), (2.0, 3.0))
    plain = {**asdict(made), 'sizes': [4], 'pair': [2.0, 3]}
    assert from_plain(Settings, plain) == made
    assert from_plain(Settings, {}) == Settings()


def test_whole_numbers_may_stand_for_real_ones():
    assert from_plain(Settings, {'rate': 1}) == Settings(rate=1.0)
    assert type(from_plain(Settings, {'rate': 1}).rate) is float


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
        from_plain(Settings, wrong)


def test_an_unknown_name_is_refused_with_the_one_that_was_meant():
    with pytest.raises(ConfigError, match="unknown parameter 'counts': did you mean 'count'"):
        from_plain(Settings, {'counts': 1})


@pytest.mark.parametrize('wrong', [{'count': 1.5}, {'name': 3}, {'flag': 1}, {'sizes': [1.5]}])
def test_the_constructor_checks_too(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Settings(**wrong)
