"""The parameter tree, without ROS."""

import dataclasses
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from sph_reg_ros.errors import ConfigError
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.service.parameters import NodeParameters
from sph_reg_ros.settings import build, parameter, settings, specs, unknown_message

CONFIG = Path(__file__).parents[2] / 'config' / 'registration.yaml'
SPECS = specs(NodeParameters)
NUMBERS = [
    field.name
    for field in dataclasses.fields(RegistrationConfig)
    if field.metadata.get('low') is not None
]
VALUES = st.one_of(
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text('ab.', max_size=5),
    st.lists(st.integers(), max_size=3).map(tuple),
)
# Other work on the machine must not fail a test.
PATIENT = hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def flat(tree: dict, prefix: str = '') -> dict:
    values = {}
    for key, value in tree.items():
        is_group = isinstance(value, dict)
        values |= flat(value, f'{prefix}{key}.') if is_group else {prefix + key: value}
    return values


def test_the_yaml_file_lists_every_parameter_with_its_default_in_the_same_order():
    (node,) = yaml.safe_load(CONFIG.read_text()).values()
    listed = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in flat(node['ros__parameters']).items()
    }
    assert listed == {name: spec.default for name, spec in SPECS.items()}
    assert [type(value) for value in listed.values()] == [
        type(spec.default) for spec in SPECS.values()
    ]


def test_every_parameter_in_the_yaml_file_has_a_comment_above_it():
    lines = CONFIG.read_text().splitlines()
    for number, line in enumerate(lines):
        if re.match(r'\s{4,}\w+: \S', line):
            assert lines[number - 1].lstrip().startswith('#'), line


def test_every_parameter_has_a_description_and_numbers_have_ranges():
    for spec in SPECS.values():
        assert spec.description, spec.name
        number = isinstance(spec.default, int | float) and not isinstance(spec.default, bool)
        if number:
            assert spec.low is not None and spec.low <= spec.default <= spec.high, spec.name


def test_the_defaults_of_the_registration_are_those_of_its_config():
    for field in dataclasses.fields(RegistrationConfig):
        assert SPECS[f'registration.{field.name}'].default == field.default


def test_the_tree_built_from_all_defaults_is_the_default_tree():
    assert build({n: s.default for n, s in SPECS.items()}, NodeParameters) == NodeParameters()


def test_values_reach_their_place():
    tree = build(
        {'ct.path': 'x', 'registration.levels': (16, 64), 'registration.timeout': 2.0},
        NodeParameters,
    )
    assert (tree.ct.path, tree.registration.config.levels, tree.registration.timeout) == (
        'x',
        (16, 64),
        2.0,
    )


@pytest.mark.parametrize(
    ('name', 'value', 'reason'),
    [
        ('matching.timeout', -1.0, r'must lie in \[0, 60\]'),
        ('matching.timeout', float('nan'), 'must be a finite number'),
        ('matching.timeout', True, 'must be a valid number, not True'),
        ('matching.timeout', 10**400, 'must be a valid number, not 1000'),
        ('matching.timeout', 100, r'must lie in \[0, 60\]'),
        ('registration.starts', 1.0, 'must be a valid integer, not 1.0'),
        ('registration.levels', (32.0, 64), 'levels must be a valid integer, not 32.0'),
        ('registration.method', True, 'must be one of spherical, image, not True'),
        ('continuous', 1, 'must be a valid boolean, not 1'),
        ('image.intensity', 'x', 'must be one of beer_lambert'),
        ('registration.levels', (4,), 'levels must be 12 px or more'),
        ('registration.levels', (16, 32), 'the last of levels must be 48 px or more'),
        ('registration.search_depth_mm', 0.0, r'must lie in \[0.1, 500\], not 0.0'),
        ('frames.patient', '', 'must not be empty'),
    ],
)
def test_a_wrong_value_is_refused_with_the_reason(name, value, reason):
    with pytest.raises(ConfigError, match=reason):
        build({name: value}, NodeParameters)


@settings
class Small:
    """A tree of what people write in another way than it is kept."""

    seconds: float = parameter(1.0, 'a duration', low=0.0, high=60.0)
    sizes: tuple[float, ...] = parameter((1.0, 2.0), 'several')
    names: tuple[str, ...] = parameter(('a',), 'several')
    mode: str = parameter('auto', 'a choice', choices=('auto', 'true', 'false'))


@pytest.mark.parametrize(
    ('name', 'written', 'kept'),
    [
        ('seconds', 3, 3.0),
        ('seconds', 0, 0.0),
        ('sizes', (3, 4), (3.0, 4.0)),
        ('sizes', (3, 4.5), (3.0, 4.5)),
        ('sizes', (), ()),
        ('mode', True, 'true'),
        ('mode', False, 'false'),
        ('mode', 'auto', 'auto'),
    ],
)
def test_a_value_is_taken_as_it_was_meant(name, written, kept):
    value = getattr(build({name: written}, Small), name)
    assert value == kept and repr(value) == repr(kept)


@pytest.mark.parametrize('name', NUMBERS)
def test_the_ranges_that_ros_is_told_are_those_of_the_registration(name):
    spec = SPECS[f'registration.{name}']
    step = 1 if isinstance(spec.default, int) else 0.001
    for good in (spec.low, spec.high):
        RegistrationConfig(**{name: type(spec.default)(good)})
    for bad in (spec.low - step, spec.high + step):
        with pytest.raises(ConfigError, match=name):
            RegistrationConfig(**{name: bad})


def test_ros_is_told_the_choices_of_the_registration():
    for name in ('method', 'backend', 'similarity', 'robust_kernel'):
        choices = SPECS[f'registration.{name}'].choices
        for choice in choices:
            RegistrationConfig(**{name: choice})
        assert len(choices) >= 2


@pytest.mark.parametrize(
    ('wrong', 'meant'),
    [
        ('ct.pth', 'ct.path'),
        ('max_iterations', 'registration.max_iterations'),
        ('image.max_iterations', 'registration.max_iterations'),
    ],
)
def test_an_unknown_name_is_refused_with_the_one_that_was_meant(wrong, meant):
    with pytest.raises(ConfigError, match=f"unknown parameter '{wrong}': did you mean '{meant}'"):
        build({wrong: 1}, NodeParameters)


def test_a_name_like_no_other_points_to_the_list():
    assert 'config/' in unknown_message('qqqq', list(SPECS))


@PATIENT
@given(st.dictionaries(st.sampled_from(sorted(SPECS)), VALUES, max_size=3))
def test_any_values_give_a_tree_or_a_typed_error(values):
    try:
        tree = build(values, NodeParameters)
    except ConfigError as error:
        assert str(error)
    else:
        assert isinstance(tree, NodeParameters)
