"""Matrices in YAML and JSON files."""

import json

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sph_reg_ros.cli.matrix_file import matrix, read_mapping

numbers = st.lists(st.floats(-1e6, 1e6), min_size=6, max_size=6)


def written_and_read(folder, content, dump):
    path = folder / 'file'
    path.write_text(dump(content))
    return read_mapping(path)


@pytest.mark.parametrize('dump', [json.dumps, yaml.safe_dump, lambda c: json.dumps(c, indent='\t')])
@given(values=numbers)
def test_every_layout_gives_the_same_matrix_bit_by_bit(tmp_path_factory, dump, values):
    folder = tmp_path_factory.getbasetemp()
    expected = torch.tensor(values, dtype=torch.float64).reshape(2, 3)
    layouts = (values, [values[:3], values[3:]], {'rows': 2, 'cols': 3, 'data': values})
    for layout in layouts:
        content = written_and_read(folder, {'a': layout}, dump)
        assert torch.equal(matrix(content['a'], 2, 3), expected)


def test_small_numbers_of_json_are_numbers_in_yaml_too():
    assert float(matrix(yaml.safe_load('[1e-05]'), 1, 1)) == 1e-5


@pytest.mark.parametrize(
    'value',
    [
        None, 3, 'abc', [], [1, 2], [[1, 2, 3]], [[1, 2], [3, 4], [5, 6]], [[1, 2, 3], [4, 5]],
        [1, 2, 3, 4, 5, True], [1, 2, 3, 4, 5, None], [1, 2, 3, 4, 5, 'x'],
        [1, 2, 3, 4, 5, float('inf')], [[[1, 2, 3], [4, 5, 6]]], {'data': [1, 2, 3, 4, 5, 6]},
        {'rows': 3, 'cols': 2, 'data': [1, 2, 3, 4, 5, 6]}, {'rows': 2, 'cols': 3},
    ],
)  # fmt: skip
def test_anything_else_is_refused(value):
    with pytest.raises(ValueError):
        matrix(value, 2, 3)
