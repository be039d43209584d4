"""Rough poses: the correlation, the grid of hypotheses, and what the search is good for."""

import math
from dataclasses import replace

import pytest
import torch
from phantoms import pose_in_front, smooth_phantom

from sph_reg_ros.errors import ConfigError, ErrorCode, SolverError
from sph_reg_ros.geometry import Camera, se3
from sph_reg_ros.geometry.box import mean_distance_mm
from sph_reg_ros.registration.choices import ROBUST_KERNELS, SIMILARITIES
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.register import register
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.search import Variants, distinct
from sph_reg_ros.registration.templates import Templates, fast_size
from sph_reg_ros.registration.view import View
from sph_reg_ros.rendering.render import render
from sph_reg_ros.similarity import IMAGE_SIMILARITIES, RobustKernel

CAMERA = Camera.from_geometry(1000.0, (3.0, 3.0), (48, 48), principal_point=(20.0, 26.0))
CONFIG = RegistrationConfig(
    levels=(24, 48),
    similarity='ncc',
    search_rotation_rad=0.35,
    search_in_plane_mm=30.0,
    search_depth_mm=60.0,
)
FAR = torch.tensor([0.6, -0.5, 0.5, 25.0, -20.0, 60.0], dtype=torch.float64)


def view_of(volume, camera_from_ct, camera=CAMERA) -> View:
    """Return an X-ray by the reference renderer at another step."""
    image = render(volume, camera_from_ct, camera.K, camera.size, backend='torch', step_mm=0.7)
    return View(image.float(), camera)


def distance_mm(volume, a, b) -> float:
    corners = torch.cartesian_prod(*[torch.tensor([-30.0, 30.0]).double()] * 3) + volume.centre
    return float(mean_distance_mm(a, b, corners))


def test_a_far_start_needs_the_search_and_is_found_with_it():
    volume = smooth_phantom()
    truth = pose_in_front(volume)
    start = se3.apply_twist(FAR, truth, volume.centre)
    request = RegistrationRequest(volume, (view_of(volume, truth),), start, CONFIG)
    found = register(request)
    assert distance_mm(volume, found.camera_from_ct[0], truth) < 2
    alone = register(replace(request, config=replace(CONFIG, starts=0)))
    assert distance_mm(volume, alone.camera_from_ct[0], truth) > 20
    assert alone.runner_up is None
    if found.runner_up is not None:
        assert found.runner_up.similarity <= found.runner_up.best_similarity
        assert found.runner_up.distance_mm > 5


def test_two_views_search_together():
    volume = smooth_phantom()
    first = pose_in_front(volume)
    quarter = torch.tensor([0.0, math.pi / 2, 0, 0, 0, 0], dtype=torch.float64)
    second = se3.apply_twist(quarter, first, volume.centre)
    views = tuple(
        replace(view_of(volume, pose), fixed_from_camera=se3.inverse(pose))
        for pose in (first, second)
    )
    start = se3.apply_twist(FAR, first, volume.centre)
    result = register(RegistrationRequest(volume, views, start, CONFIG))
    for found, truth in zip(result.camera_from_ct, (first, second), strict=True):
        assert distance_mm(volume, found, truth) < 1


@pytest.mark.parametrize('similarity', SIMILARITIES)
def test_every_similarity_ends_where_it_starts_if_that_is_the_truth(similarity):
    volume = smooth_phantom()
    truth = pose_in_front(volume)
    config = replace(CONFIG, similarity=similarity, starts=0)
    result = register(RegistrationRequest(volume, (view_of(volume, truth),), truth, config))
    assert distance_mm(volume, result.camera_from_ct[0], truth) < 8
    assert result.similarity == similarity and result.method == 'image'


@pytest.mark.parametrize('starts', [0, 3])
def test_a_ct_out_of_view_is_refused_with_the_number_of_rays(starts):
    volume = smooth_phantom()
    truth = pose_in_front(volume)
    for moved_mm in ((5000.0, 0.0, 0.0), (0.0, 0.0, -2000.0)):
        away = truth.clone()
        away[:3, 3] += torch.tensor(moved_mm)
        request = RegistrationRequest(
            volume, (view_of(volume, truth),), away, replace(CONFIG, starts=starts)
        )
        with pytest.raises(SolverError, match='0 of 2304 rays') as error:
            register(request)
        assert error.value.code == ErrorCode.NO_OVERLAP


def test_a_variant_says_how_the_rendering_of_its_pose_looks():
    volume = smooth_phantom()
    truth = pose_in_front(volume)
    view = view_of(volume, truth)
    variants = Variants.build(view, CONFIG, 700.0)
    index = torch.arange(len(variants.turns))
    no_shift = torch.zeros(len(index), 2, dtype=torch.float64)
    poses = variants.apply(index, no_shift, truth.expand(len(index), 4, 4), volume.centre)
    # A camera that looks for the X-ray in renderings without turn and depth.
    hypotheses = view_of(volume, truth).line_integrals
    for n in (0, len(index) // 2, len(index) - 1):
        turned = replace(view, line_integrals=view_of(volume, poses[n]).line_integrals)
        back = Variants.build(turned, CONFIG, 700.0)
        scores, shifts = back.templates(CAMERA.size, hypotheses.device).best_shifts(hypotheses)
        assert int(scores.argmax()) == n and float(scores[n]) > 0.9
        assert torch.equal(shifts[n], no_shift[n])


def test_a_template_is_found_where_it_was_cut_out_whatever_its_masked_pixels():
    image = torch.rand(40, 50, generator=torch.Generator().manual_seed(0))
    cut = (3 * image[7:27, 12:37] + 5)[None].clone()
    mask = torch.ones_like(cut, dtype=torch.bool)
    mask[:, :6], cut[:, :6] = False, 100.0
    score, shift = Templates.build(cut, mask, (40, 50)).best_shifts(image)
    assert shift.tolist() == [[12, 7]] and float(score) == pytest.approx(1, abs=1e-3)


def test_poses_that_lead_to_the_same_optimum_count_once():
    volume = smooth_phantom()
    truth = pose_in_front(volume)
    twists = torch.zeros(4, 6, dtype=torch.float64)
    twists[1, 0], twists[2, 3], twists[3, 5] = math.radians(5), 30.0, 20.0
    poses = se3.apply_twist(twists, truth.expand(4, 4, 4), volume.centre)
    assert distinct(poses, volume.centre) == [0, 2]


def test_fast_sizes_have_small_factors_only():
    assert [fast_size(n) for n in (1, 13, 46, 60, 121)] == [2, 16, 48, 60, 128]


def test_the_names_that_settings_may_take_are_those_that_exist():
    assert set(SIMILARITIES) == set(IMAGE_SIMILARITIES)
    assert set(ROBUST_KERNELS) == {kernel.value for kernel in RobustKernel}


@pytest.mark.parametrize(
    ('setting', 'message'),
    [
        ({'method': 'magic'}, "method must be one of spherical, image, not 'magic'"),
        ({'similarity': 'ssim'}, 'must be one of ncc'),
        ({'robust_kernel': 'l1'}, 'must be one of none'),
        ({'starts': -1}, 'starts'),
        ({'search_rotation_rad': 2.0}, 'search_rotation_rad'),
        ({'search_depth_mm': float('nan')}, 'search_depth_mm'),
    ],
)
def test_an_unknown_name_or_width_is_refused(setting, message):
    with pytest.raises(ConfigError, match=message):
        RegistrationConfig(**setting)
