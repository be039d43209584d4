"""No initial pose: any view direction, any turn of the display, whatever the X-ray shows."""

import math
from dataclasses import replace

import pytest
import torch
from phantoms import trunk_phantom
from registration_scenes import CAMERA, CONFIG, assert_near, xray

from sph_reg_ros.errors import PoseError, SolverError
from sph_reg_ros.geometry import se3, so3
from sph_reg_ros.geometry.carm import camera_from_ct_for_angles
from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.registration.global_search import MOST_CRANIAL, directions
from sph_reg_ros.registration.part import register_part
from sph_reg_ros.registration.register import register
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.view import View

VOLUME = trunk_phantom()


def pose(primary_deg, secondary_deg, roll_deg=0.0, distance_mm=700.0, shift=(0.0, 0.0, 0.0)):
    angles = math.radians(primary_deg), math.radians(secondary_deg)
    centre = VOLUME.centre + torch.tensor(shift, dtype=torch.float64)
    seen = camera_from_ct_for_angles(*angles, distance_mm, centre)
    roll = so3.exp(torch.tensor([0.0, 0.0, math.radians(roll_deg)], dtype=torch.float64))
    return se3.from_parts(roll, torch.zeros(3, dtype=torch.float64)) @ seen


def found(*views, **config):
    request = RegistrationRequest(
        VOLUME,
        views,
        None,
        replace(CONFIG, levels=(24, 48), similarity='mapped_ncc+gradient', **config),
    )
    return register(request, verified=False)


def view_of(truth, camera=CAMERA, **of_view) -> View:
    return View(xray(VOLUME, truth, camera), camera, **of_view)


@pytest.mark.parametrize(
    'truth',
    [
        pose(0, 0),
        pose(170, 20, 5),
        pose(-95, -15, 180, 820),
        pose(40, 42, 90, 580, (8.0, -5.0, 6.0)),
        pose(-140, -38, -137),
    ],
    ids=['front', 'behind', 'side upside down', 'cranial quarter turn', 'behind any turn'],
)
def test_a_pose_is_found_without_initial_pose_from_everywhere(truth):
    result = found(view_of(truth))
    assert result.method == 'image' and result.similarity_before > 0.8
    assert_near(VOLUME, result.camera_from_ct[0], truth)


def test_a_mirrored_oblong_image_with_its_beam_off_centre_is_understood():
    camera = CAMERA.crop(6, 0, 72, 90).flip(horizontal=True)
    truth = pose(120, -10, 60, shift=(3.0, 2.0, 0.0))
    assert_near(VOLUME, found(view_of(truth, camera)).camera_from_ct[0], truth)


def test_what_a_collimator_hides_does_not_count():
    truth = pose(-60, 12, 25)
    mask = torch.zeros(CAMERA.size, dtype=torch.bool)
    mask[20:80, 14:76] = True
    image = torch.where(mask, xray(VOLUME, truth), 9.0)
    result = found(View(image, CAMERA, mask))
    assert_near(VOLUME, result.camera_from_ct[0], truth)


def test_several_views_judge_together():
    truth = pose(100, 5, 90)
    second_from_first = pose(10, 5) @ se3.inverse(pose(100, 5, 90))
    views = (
        view_of(truth, fixed_from_camera=torch.eye(4, dtype=torch.float64)),
        view_of(second_from_first @ truth, fixed_from_camera=se3.inverse(second_from_first)),
    )
    result = found(*views)
    assert_near(VOLUME, result.camera_from_ct[0], truth)
    assert_near(VOLUME, result.camera_from_ct[1], second_from_first @ truth)


def test_the_distance_that_is_searched_can_be_set():
    truth = pose(20, -8, distance_mm=330.0)
    result = found(view_of(truth), search_distance_mm=320.0)
    assert_near(VOLUME, result.camera_from_ct[0], truth)


def test_a_search_that_is_off_around_an_initial_pose_runs_without_one():
    truth = pose(-30, 10)
    assert_near(VOLUME, found(view_of(truth), starts=0).camera_from_ct[0], truth)


def test_a_ct_that_shows_nothing_is_refused():
    empty = AttenuationVolume(torch.zeros_like(VOLUME.mu), VOLUME.ct_from_index)
    request = RegistrationRequest(empty, (view_of(pose(0, 0)),), None, CONFIG)
    with pytest.raises(SolverError, match='from any direction'):
        register(request)


def test_a_part_needs_an_initial_pose():
    with pytest.raises(PoseError, match='initial pose'):
        register_part(RegistrationRequest(VOLUME, (view_of(pose(0, 0)),), None, CONFIG))


def test_every_direction_that_a_c_arm_reaches_is_near_one_that_is_searched():
    angles = torch.tensor(directions(), dtype=torch.float64)
    beams = torch.stack(
        [
            angles[:, 0].sin() * angles[:, 1].cos(),
            -angles[:, 0].cos() * angles[:, 1].cos(),
            angles[:, 1].sin(),
        ],
        -1,
    )
    some = torch.nn.functional.normalize(torch.randn(4000, 3, dtype=torch.float64))
    some = some[some[:, 2].abs() < math.sin(MOST_CRANIAL)]
    apart_deg = (some @ beams.T).amax(1).clamp(max=1).acos().rad2deg()
    assert float(apart_deg.max()) < 15 and len(angles) < 130
