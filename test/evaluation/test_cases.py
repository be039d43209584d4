"""Benchmark cases of a tiny CT: made once, kept on disk, the same whenever they are made."""

import numpy as np
import pytest
import torch

pytest.importorskip('diffdrr.renderers')

import sph_reg_ros.evaluation.path_cache as path_cache
from sph_reg_ros.evaluation.cases import BenchCT, CaseMaker, all_disturbances
from sph_reg_ros.evaluation.disturbances import DISTURBANCES
from sph_reg_ros.evaluation.metrics import rotation_error_deg
from sph_reg_ros.evaluation.path_cache import PathCache, default_cache_folder
from sph_reg_ros.evaluation.protocols import NEAR
from sph_reg_ros.evaluation.trials import MethodResult, judge, summarise
from sph_reg_ros.geometry import se3
from sph_reg_ros.imaging.ct.volume import CT


@pytest.fixture(scope='module')
def bench_ct() -> BenchCT:
    """Return 6 x 7 x 8 voxels of 30 mm with bone on one side."""
    hounsfield = np.full((8, 7, 6), -1000.0, dtype=np.float32)
    hounsfield[1:7, 1:6, 1:5] = 0.0
    hounsfield[2:5, 2:4, 1:3] = 900.0
    affine = np.diag([-30.0, -30.0, 30.0, 1.0])
    return BenchCT('box', CT(hounsfield, affine, series_uid_hash='a' * 16))


@pytest.fixture(scope='module')
def cache(tmp_path_factory) -> PathCache:
    return PathCache(tmp_path_factory.mktemp('integrals'))


def test_integrals_are_computed_once_for_an_xray(bench_ct, cache, monkeypatch):
    maker = CaseMaker(NEAR, 'clean', cache)
    maker.case(bench_ct, 0)

    def fails(*_):
        raise AssertionError('computed again')

    monkeypatch.setattr(path_cache, 'signed_path_integrals', fails)
    for condition in ('clean', 'disturbed'):
        CaseMaker(NEAR, condition, cache).case(bench_ct, 3)
    with pytest.raises(AssertionError, match='computed again'):
        maker.case(bench_ct, 4)


def test_another_projector_has_files_of_its_own(bench_ct, cache):
    known = set(cache.folder.iterdir())
    asked = []

    def flat(voxels, camera_from_index, K, size):
        asked.append(size)
        return torch.rand(size), torch.zeros(size)

    for _ in range(2):
        CaseMaker(NEAR, 'clean', PathCache(cache.folder, flat)).case(bench_ct, 0)
    assert asked == [(256, 256)]
    assert known < set(cache.folder.iterdir())


def test_a_display_is_a_condition_with_the_same_pose_and_no_random_disturbance(bench_ct, cache):
    clean, turned = (
        CaseMaker(NEAR, name, cache).case(bench_ct, 0) for name in ('clean', 'rotated')
    )
    assert torch.equal(clean.truth, turned.truth) and not turned.disturbances.names
    assert turned.camera.K[0, 1] != 0 == clean.camera.K[0, 1]
    assert float(turned.view.mask.float().mean()) < 0.8 * float(clean.view.mask.float().mean())


def test_a_damaged_file_is_replaced(bench_ct, cache):
    maker = CaseMaker(NEAR, 'clean', cache)
    expected = maker.case(bench_ct, 0).view.line_integrals
    for file in cache.folder.iterdir():
        file.write_bytes(file.read_bytes()[:1000])
    torch.testing.assert_close(maker.case(bench_ct, 0).view.line_integrals, expected)


def test_another_pose_or_ct_is_another_file(cache):
    from sph_reg_ros.evaluation.viewpoints import BENCH_GEOMETRY

    camera, pose = BENCH_GEOMETRY.camera, torch.eye(4, dtype=torch.float64)
    moved = pose.clone()
    moved[0, 3] = 0.01
    names = {
        cache.path('a' * 16, pose, camera),
        cache.path('b' * 16, pose, camera),
        cache.path('a' * 16, moved, camera),
        cache.path('a' * 16, pose, camera.rescale(128, 128)),
        cache.path('a' * 16, pose.clone(), camera),
    }
    assert len(names) == 4


def test_the_cache_lies_where_the_user_keeps_caches(monkeypatch, tmp_path):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    assert default_cache_folder() == tmp_path / 'sph_reg_ros' / 'bench'


def test_a_case_depends_on_its_number_alone(bench_ct, cache):
    maker = CaseMaker(NEAR, 'disturbed', cache)
    alone = maker.case(bench_ct, 2)
    third = list(maker.cases(bench_ct, range(4)))[2]
    assert alone.disturbances == third.disturbances
    torch.testing.assert_close(alone.start.camera_from_ct, third.start.camera_from_ct)
    torch.testing.assert_close(alone.view.line_integrals, third.view.line_integrals)


def test_cases_share_xrays_in_fours_but_neither_start_nor_noise(bench_ct, cache):
    first, second = CaseMaker(NEAR, 'clean', cache).cases(bench_ct, (0, 1))
    torch.testing.assert_close(first.truth, second.truth)
    assert rotation_error_deg(first.start.camera_from_ct, second.start.camera_from_ct) > 0.1
    difference = first.view.line_integrals - second.view.line_integrals
    assert 1e-4 < float(difference.std()) < 0.2


def test_clean_and_disturbed_cases_start_alike(bench_ct, cache):
    clean, disturbed = (
        CaseMaker(NEAR, condition, cache).case(bench_ct, 1) for condition in ('clean', 'disturbed')
    )
    torch.testing.assert_close(clean.start.camera_from_ct, disturbed.start.camera_from_ct)
    assert clean.disturbances.names == frozenset()
    assert disturbed.disturbances.names


def test_disturbances_can_be_forced(bench_ct, cache):
    case = CaseMaker(NEAR, 'disturbed', cache, all_disturbances()).case(bench_ct, 0)
    assert case.disturbances.names == frozenset(DISTURBANCES)
    assert case.view.mask is not None and 0.3 < float(case.view.mask.float().mean()) < 1.0


def test_landmarks_stay_within_a_small_ct(bench_ct):
    extent = bench_ct.landmarks_mm.amax(dim=0) - bench_ct.landmarks_mm.amin(dim=0)
    assert extent.tolist() == pytest.approx([150.0, 120.0, 180.0])


def test_trials_are_summed_up_with_refusals_as_failures(bench_ct, cache):
    case = CaseMaker(NEAR, 'clean', cache).case(bench_ct, 0)
    shifts_mm = (0.0, 1.0, 3.0, 12.0)
    trials = []
    for shift_mm in shifts_mm:
        found = case.truth.clone()
        found[0, 3] += shift_mm
        verdict = 'VERIFIED' if shift_mm in (1.0, 12.0) else 'REJECTED'
        outcome = MethodResult(found, 1.0 + shift_mm, 10, verdict=verdict)
        trials.append(judge(case, bench_ct, outcome))
    refused = MethodResult(case.truth, 1.0, 0, 'refused: SOLVER')
    trials.append(judge(case, bench_ct, refused))
    summary = summarise(trials)
    assert summary.success_share == pytest.approx(2 / 5)
    assert summary.coarse_success_share == pytest.approx(3 / 5)
    assert summary.mtre_mm == pytest.approx(np.quantile([0, 0, 1, 3, 12], [0.5, 0.75, 0.95]))
    assert summary.in_plane_mm == pytest.approx(1.0) and summary.depth_mm == pytest.approx(0.0)
    assert summary.dgeo_mm == pytest.approx(1.0)
    assert (summary.cases, summary.unfinished, summary.seconds[0]) == (5, 1, 2.0)
    assert (summary.verified_share, summary.wrongly_verified) == (0.5, 1)
    expected = se3.transform_points(case.start.camera_from_ct, bench_ct.landmarks_mm)
    expected = expected - se3.transform_points(case.truth, bench_ct.landmarks_mm)
    assert trials[0].start_mm == pytest.approx(float(expected.norm(dim=-1).mean()))
