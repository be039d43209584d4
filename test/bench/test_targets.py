import torch
from _acceptance import Pairs
from _targets import targets_of

FAR_ROW = {'protocol': 'far', 'condition': 'disturbed'}


def summary(success: float, mtre_mm: float, seconds: float) -> dict:
    return {
        'success_share': success,
        'coarse_success_share': 1.0,
        'mtre_mm': [mtre_mm, 1.0, 2.0],
        'seconds': [seconds, 2 * seconds],
    }


def test_the_learned_method_has_to_beat_images_in_each_figure():
    rows = [
        {**FAR_ROW, 'method': 'image', 'summary': summary(0.9, 0.2, 1.0)},
        {**FAR_ROW, 'method': 'spherical + polish', 'summary': summary(0.9, 0.1, 2.0)},
    ]
    success, error, time = targets_of({'methods': rows}, 'shipped')
    assert not success.met and 'equal' in success.found
    assert error.met
    assert not time.met


def test_without_a_guess_both_shares_have_to_be_reached():
    row = {
        'protocol': 'no guess',
        'condition': 'clean',
        'method': 'spherical + polish',
        'summary': {**summary(0.91, 0.1, 1.0), 'coarse_success_share': 0.94},
    }
    coarse, fine = targets_of({'methods': [row]}, 'shipped')
    assert not coarse.met
    assert fine.met


def test_lm_has_to_be_ten_times_as_quick_as_sgd():
    def entry(solver: str, steps: int | None) -> dict:
        return {'protocol': 'near', 'condition': 'clean', 'solver': solver, 'steps': steps}

    for steps, met in ((5, True), (11, False), (None, False), (0, True)):
        entries = [entry('LM', steps), entry('SGD', 100)]
        (target,) = targets_of({'solvers': entries}, 'shipped')
        assert target.met is met


def test_only_the_shipped_similarity_is_accepted():
    entry = {'condition': 'clean', 'correlation': 0.99, 'rotation_deg': 10.0}
    entries = [
        {**entry, 'similarity': 'shipped', 'translation_deg': 30.0},
        {**entry, 'similarity': 'euclidean', 'translation_deg': 10.0},
    ]
    targets = targets_of({'acceptance': entries}, 'shipped')
    assert [target.met for target in targets] == [True, True, False]


def test_figures_of_an_exact_similarity_are_perfect():
    distances = torch.tensor([1.0, 2.0, 5.0])
    figures = Pairs(distances, distances, torch.zeros(3, 2), 0).figures()
    assert round(figures['correlation'], 6) == 1.0
    assert figures['median_error_mm'] == figures['rotation_deg'] == 0.0
