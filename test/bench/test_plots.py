import pytest
from _plots import draw

pytest.importorskip('matplotlib')

SUMMARY = {'success_share': 0.5, 'coarse_success_share': 0.75}
KEYS = {'condition': 'clean', 'protocol': 'far'}
RESULTS = {
    'methods': [{**KEYS, 'method': 'image', 'summary': SUMMARY, 'trials': [{}]}],
    'solvers': [
        {
            **KEYS,
            'solver': 'SGD',
            'rate': 0.01,
            'steps': None,
            'goal_mm': 2.0,
            'curve_mm': [20.0, 9.0, 3.0],
        }
    ],
    'capture': [
        {
            **KEYS,
            'method': 'image',
            'bins': [
                {'from_mm': 0.0, 'to_mm': 5.0, 'cases': 2, '<2 mm': 1.0, '<10 mm': 1.0},
                {'from_mm': 5.0, 'to_mm': 10.0, 'cases': 0, '<2 mm': None, '<10 mm': None},
            ],
        }
    ],
    'acceptance': [
        {
            **KEYS,
            'similarity': 'shipped',
            'true_mm': [1.0, 2.0],
            'learned_mm': [1.5, 2.0],
            'correlation': 1.0,
        }
    ],
}


def test_each_part_that_was_measured_gets_a_picture(tmp_path):
    draw({**RESULTS, 'networks': []}, tmp_path)
    assert {path.stem for path in tmp_path.iterdir()} == set(RESULTS)
