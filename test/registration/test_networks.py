"""Registration that starts from networks, with fresh ones whose answers are known.

A fresh regressor answers with its nominal view, and fresh random features already compare images.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cards import CARD
from network_sizes import TINY_AGNOSTIC, TINY_ENCODER, TINY_REGRESSOR
from phantoms import AFFINE, pose_in_front, smooth_phantom, trunk_phantom
from registration_scenes import CAMERA, CONFIG, assert_close, assert_near, moved, xray
from training_jobs import small_ct

from sph_reg_ros.errors import CancelledError, ErrorCode, WeightsError
from sph_reg_ros.geometry import Camera, se3
from sph_reg_ros.geometry.carm import camera_from_ct_for_angles
from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.networks import weights
from sph_reg_ros.networks.agnostic import AgnosticRegressor
from sph_reg_ros.networks.encoder import SphericalEncoder
from sph_reg_ros.networks.regressor import PoseRegressor
from sph_reg_ros.registration import networks_first
from sph_reg_ros.registration.course import Course
from sph_reg_ros.registration.networks import FOR_ANY_CT, Networks, find_networks
from sph_reg_ros.registration.networks_first import NETWORKS_ASTRAY
from sph_reg_ros.registration.pyramid import build_level
from sph_reg_ros.registration.register import register
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.result import RegistrationResult, Verdict
from sph_reg_ros.registration.view import View

VOLUME = smooth_phantom()
TRUTH = pose_in_front(VOLUME)
TRUNK = trunk_phantom()
TRUNK_TRUTH = camera_from_ct_for_angles(0.6, -0.2, 720.0, TRUNK.centre)
CT = small_ct()


def networks(nominal: torch.Tensor, camera: Camera = CAMERA) -> Networks:
    """Return networks whose regressor always answers `nominal`."""
    torch.manual_seed(0)
    regressor = PoseRegressor(TINY_REGRESSOR, nominal, VOLUME.centre)
    encoder = SphericalEncoder(replace(TINY_ENCODER, image_size=(48, 48)))
    return Networks(
        regressor.eval().requires_grad_(False),
        camera.rescale(32, 32),
        encoder.eval().requires_grad_(False),
        camera.rescale(48, 48),
        'phantom',
    )


def request(
    found: Networks | None, initial=None, truth=TRUTH, volume=VOLUME, **config
) -> RegistrationRequest:
    view = View(xray(volume, truth), CAMERA)
    return RegistrationRequest(volume, (view,), initial, replace(CONFIG, **config), networks=found)


def request_from_anywhere(found: Networks | None, **config) -> RegistrationRequest:
    """A CT whose views from everywhere differ, and no initial pose."""
    similarity = 'mapped_ncc+gradient'
    return request(found, None, TRUNK_TRUTH, TRUNK, similarity=similarity, **config)


def test_networks_find_the_start_where_there_is_no_initial_pose():
    result = register(request(networks(moved(VOLUME, TRUTH, seed=1))))
    assert (result.method, len(result.warnings)) == ('spherical', 1)
    assert_close(VOLUME, result.camera_from_ct[0], TRUTH)
    assert result.similarity_before < result.similarity_after
    assert {'regress', 'networks', 'refine'} < set(result.timings_s)


def test_a_good_initial_pose_saves_what_a_regressor_has_wrong():
    lost = moved(VOLUME, TRUTH, seed=2, degrees=170.0)
    result = register(request(networks(lost), moved(VOLUME, TRUTH, seed=1)))
    assert result.method == 'spherical'
    assert_close(VOLUME, result.camera_from_ct[0], TRUTH)


def test_two_views_are_registered_without_an_initial_pose():
    side = se3.exp(torch.tensor([0.0, 0.9, 0.0, 0, 0, 0], dtype=torch.float64))
    second_from_first = se3.from_parts(side[:3, :3], torch.tensor([-560.0, 0, 250]).double())
    views = (
        View(xray(VOLUME, TRUTH), CAMERA, None, torch.eye(4, dtype=torch.float64)),
        View(
            xray(VOLUME, second_from_first @ TRUTH),
            CAMERA,
            None,
            se3.inverse(second_from_first),
        ),
    )
    found = networks(moved(VOLUME, TRUTH, seed=1))
    result = register(replace(request(found), views=views))
    assert result.method == 'spherical' and len(result.camera_from_ct) == 2
    assert_close(VOLUME, result.camera_from_ct[0], TRUTH)


def test_without_networks_no_initial_pose_is_needed_either():
    for found, method in ((None, 'spherical'), (networks(TRUNK_TRUTH), 'image')):
        result = register(request_from_anywhere(found, method=method), verified=False)
        assert result.method == 'image'
        assert_near(TRUNK, result.camera_from_ct[0], TRUNK_TRUTH)


def test_where_networks_are_astray_a_search_of_all_directions_finds_it():
    lost = networks(moved(VOLUME, TRUTH, seed=11, degrees=150.0))
    result = register(request_from_anywhere(lost))
    assert (result.method, result.warnings[1:]) == ('image', (NETWORKS_ASTRAY,))
    assert_near(TRUNK, result.camera_from_ct[0], TRUNK_TRUTH)


@pytest.mark.parametrize(
    'found, reason',
    [
        (None, 'no networks for this CT'),
        (networks(TRUTH, CAMERA.crop(-48, -48, 192, 192)), 'larger field of view: .* 25%'),
    ],
)
def test_where_networks_do_not_serve_images_do_and_the_result_says_so(found, reason):
    result = register(request(found, moved(VOLUME, TRUTH, seed=1)))
    assert result.method == 'image'
    with pytest.raises(AssertionError, match=f'method image instead of spherical: .*{reason}'):
        raise AssertionError(' '.join(result.warnings))
    assert_close(VOLUME, result.camera_from_ct[0], TRUTH)


def test_method_image_uses_no_networks_and_has_nothing_to_say_about_it():
    lost = networks(moved(VOLUME, TRUTH, seed=2, degrees=170.0))
    result = register(request(lost, moved(VOLUME, TRUTH, seed=1), method='image'))
    assert result.method == 'image' and not any('networks' in text for text in result.warnings)


def test_where_networks_are_astray_a_search_around_the_initial_pose_finds_it():
    lost = networks(moved(VOLUME, TRUTH, seed=11, degrees=150.0))
    far = moved(VOLUME, TRUTH, seed=1, degrees=60.0)
    result = register(request(lost, far, starts=8, search_rotation_rad=0.6))
    assert (result.method, result.warnings[1:]) == ('image', (NETWORKS_ASTRAY,))
    assert_close(VOLUME, result.camera_from_ct[0], TRUTH)
    assert {'networks', 'again: search'} < set(result.timings_s)


def rejected_at(pose: torch.Tensor, result: RegistrationResult) -> RegistrationResult:
    """Return a result as of networks whose pose did not pass the checks."""
    verification = replace(result.verification, verdict=Verdict.REJECTED)
    return replace(result, camera_from_ct=(pose,), verification=verification, method='spherical')


def test_a_search_replaces_a_doubted_pose_only_by_one_that_looks_better():
    asked = request(None, moved(VOLUME, TRUTH, seed=1))
    searched = register(asked)
    found = searched.camera_from_ct[0]
    worse = moved(VOLUME, found, seed=3, degrees=0.5, millimetres=1.0)
    for pose, method in ((worse, 'image'), (found, 'spherical')):
        doubted = rejected_at(pose, searched)
        result = networks_first.searched_instead(doubted, asked, Course())
        assert result.method == method
        assert (result.verdict is Verdict.VERIFIED) == (method == 'image')
    assert result.warnings[-1] == networks_first.SEARCHED_IN_VAIN


def test_poses_are_compared_at_one_resolution_of_the_ct_wherever_their_searches_began():
    affine = AFFINE @ torch.diag(torch.tensor([0.4, 0.4, 0.4, 1.0], dtype=torch.float64))
    smooth = smooth_phantom((60, 100, 90), affine)
    grain = torch.rand(smooth.shape, generator=torch.Generator().manual_seed(2)) - 0.5
    # Grain is what a coarser CT loses.
    volume = AttenuationVolume(smooth.mu * (1 + 1.5 * grain), affine)
    truth = pose_in_front(volume)
    view = View(xray(volume, truth, noise=0.0), CAMERA)
    deeper = truth.clone()
    deeper[2, 3] += 150.0
    config = replace(CONFIG, search_depth_mm=100.0)
    from_truth = RegistrationRequest(volume, (view,), truth, config)
    from_deeper = replace(from_truth, initial_camera_from_ct=deeper)
    fine, coarse = (build_level(asked, 96, 'numba') for asked in (from_truth, from_deeper))
    assert fine.volume.shape != coarse.volume.shape
    searched = register(from_deeper)
    worse = moved(volume, truth, seed=3, degrees=0.25, millimetres=0.5)
    doubted = replace(rejected_at(worse, searched), similarity_after=fine.score(worse))
    # By these figures, each of a CT of its own, the better pose would be the worse one.
    assert searched.similarity_after < doubted.similarity_after
    result = networks_first.searched_instead(doubted, from_deeper, Course())
    assert (result.method, result.verdict) == ('image', Verdict.VERIFIED)


@pytest.mark.parametrize('code', [ErrorCode.TIMEOUT, ErrorCode.CANCELLED])
def test_what_networks_found_survives_a_search_that_runs_out_of_time_but_not_one_cancelled(code):
    lost = networks(moved(VOLUME, TRUTH, seed=11, degrees=150.0))
    asked = request(lost, moved(VOLUME, TRUTH, seed=1, degrees=60.0), starts=8)

    def stop_in_the_search(progress):
        if progress.stage == 'search':
            raise CancelledError(code)

    if code == ErrorCode.CANCELLED:
        with pytest.raises(CancelledError):
            register(asked, stop_in_the_search)
        return
    result = register(asked, stop_in_the_search)
    assert (result.method, result.warnings[-1]) == ('spherical', networks_first.OUT_OF_TIME)
    assert result.verdict is not Verdict.VERIFIED and 'again: broken off' in result.timings_s


def test_an_initial_pose_that_sees_nothing_does_not_hide_what_networks_find():
    aside = TRUTH.clone()
    aside[0, 3] += 2000.0
    result = register(request(networks(moved(VOLUME, TRUTH, seed=1)), aside))
    assert (result.method, result.similarity_before) == ('spherical', -1)
    assert_close(VOLUME, result.camera_from_ct[0], TRUTH)
    assert result.verdict is Verdict.REJECTED and ErrorCode.FAR_FROM_PRIOR in (
        result.verification.reasons
    )


def test_where_features_tell_nothing_a_search_finds_the_pose_and_says_so():
    blind = networks(moved(VOLUME, TRUTH, seed=1))
    torch.nn.init.zeros_(blind.encoder.body[-1].weight)
    asked = request_from_anywhere(blind)
    for start in (moved(TRUNK, TRUNK_TRUTH, seed=1), None):
        result = register(replace(asked, initial_camera_from_ct=start), verified=False)
        assert result.method == 'image' and 'nothing about the pose' in result.warnings[1]
        assert_near(TRUNK, result.camera_from_ct[0], TRUNK_TRUTH)


def saved(folder: Path, ct_hash: str) -> Path:
    made = networks(TRUTH)
    card = replace(CARD, ct_hashes=(ct_hash,))
    for name, network in (('regressor', made.regressor), ('similarity', made.encoder)):
        size = tuple(network.config.image_size)
        weights.save(network, folder / name, replace(card, image_size=size))
    return folder


def test_networks_are_found_by_the_voxels_of_the_ct_below_any_folder(tmp_path):
    saved(tmp_path / 'a' / 'other', 'ffff')
    saved(tmp_path / 'b' / 'mine', CT.content_hash)
    found = find_networks(CT.content_hash, [tmp_path / 'absent', tmp_path / 'a', tmp_path / 'b'])
    assert found is not None and found.name == 'mine'
    assert torch.equal(found.regressor.head.nominal, TRUTH)
    assert find_networks(CT.content_hash, [tmp_path / 'b' / 'mine']) is not None
    assert find_networks(CT.content_hash, [tmp_path / 'a']) is None


def test_what_a_training_leaves_is_found_as_it_is(tmp_path):
    folder = saved(tmp_path / 'mine', CT.content_hash)
    for name in ('regressor', 'similarity'):
        (folder / name).rename(folder / 'weights')
        (folder / name).mkdir()
        (folder / 'weights').rename(folder / name / 'weights')
    assert find_networks(CT.content_hash, [tmp_path]) is not None


def test_slopes_come_from_features_if_the_card_says_that_these_are_poses(tmp_path):
    assert not find_networks(CT.content_hash, [saved(tmp_path, CT.content_hash)]).pose_slopes
    card = tmp_path / 'similarity' / 'card.json'
    content = json.loads(card.read_text())
    content['training']['similarity'] = {'loss': {'pose': 0.5}}
    card.write_text(json.dumps(content))
    assert find_networks(CT.content_hash, [tmp_path]).pose_slopes


def test_broken_weights_of_another_ct_stand_in_nobodys_way(tmp_path):
    other = saved(tmp_path / 'a', 'ffff') / 'regressor' / 'model.safetensors'
    other.write_bytes(b'broken')
    saved(tmp_path / 'b', CT.content_hash)
    assert find_networks(CT.content_hash, [tmp_path]) is not None


def test_broken_weights_are_refused_and_not_passed_over(tmp_path):
    folder = saved(tmp_path, CT.content_hash)
    path = folder / 'similarity' / 'model.safetensors'
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(WeightsError) as error:
        find_networks(CT.content_hash, [tmp_path])
    assert error.value.code == ErrorCode.WEIGHTS_INVALID


def saved_for_any_ct(folder: Path) -> Path:
    """Write what a training on several CTs leaves, this one among them."""
    saved(folder, CT.content_hash)
    shutil.rmtree(folder / 'regressor')
    card = replace(CARD, ct_hashes=('ffff', CT.content_hash), image_size=(32, 32))
    weights.save(AgnosticRegressor(TINY_AGNOSTIC, TRUTH), folder / 'regressor', card)
    return folder


def test_a_regressor_for_any_ct_is_passed_over_and_stands_in_nobodys_way(tmp_path):
    folder = saved_for_any_ct(tmp_path / 'a')
    assert weights.load(folder / 'regressor')[1].kind == FOR_ANY_CT  # a real one, in order
    assert find_networks(CT.content_hash, [tmp_path]) is None
    saved(tmp_path / 'b', CT.content_hash)
    found = find_networks(CT.content_hash, [tmp_path])
    assert found is not None and found.name == 'b'


def test_networks_in_each_others_place_are_refused(tmp_path):
    folder = saved(tmp_path, CT.content_hash)
    (folder / 'regressor').rename(folder / 'x')
    (folder / 'similarity').rename(folder / 'regressor')
    (folder / 'x').rename(folder / 'similarity')
    with pytest.raises(WeightsError):
        find_networks(CT.content_hash, [tmp_path])
