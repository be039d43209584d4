"""config/simulator.yaml and the typed tree say the same."""

from pathlib import Path

import pytest
import yaml

from sph_reg_ros.errors import ConfigError
from sph_reg_ros.service.simulator_parameters import SimulatorParameters
from sph_reg_ros.settings import build, specs

FILE = Path(__file__).parents[2] / 'config/simulator.yaml'


def flat(tree: dict, prefix: str = '') -> dict:
    values = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            values |= flat(value, f'{prefix}{name}.')
        else:
            values[prefix + name] = tuple(value) if isinstance(value, list) else value
    return values


def test_the_file_lists_every_parameter_with_its_default():
    (parameters,) = yaml.safe_load(FILE.read_text(encoding='utf-8')).values()
    expected = {name: spec.default for name, spec in specs(SimulatorParameters).items()}
    assert flat(parameters['ros__parameters']) == expected


def test_every_parameter_has_a_description():
    for spec in specs(SimulatorParameters).values():
        assert len(spec.description) > 5, spec.name


def test_every_number_has_a_range():
    for spec in specs(SimulatorParameters).values():
        if type(spec.default) in (int, float):
            assert spec.low is not None, spec.name


@pytest.mark.parametrize(
    'values',
    [{'geometry.sdd_mm': 600.0}, {'orbit.steps': 0}, {'xray.bits': 8}, {'rate_hz': -1.0}],
)
def test_values_out_of_range_are_refused(values):
    with pytest.raises(ConfigError):
        build(values, SimulatorParameters)
