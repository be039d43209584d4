"""The verdict is about the target: one that has moved is not verified, others are."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from body_files import front_pose

from sph_reg_ros.errors import BodyError, ErrorCode
from sph_reg_ros.geometry import Camera, se3
from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.imaging.bodies.body import Bodies, Body
from sph_reg_ros.imaging.bodies.labels import LabelMap
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.course import Course
from sph_reg_ros.registration.error_parts import ErrorParts
from sph_reg_ros.registration.register import register
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.result import Verdict
from sph_reg_ros.registration.target import find_target
from sph_reg_ros.registration.target_gate import own_pose, with_target
from sph_reg_ros.registration.view import View
from sph_reg_ros.rendering.render import render

CAMERA = Camera.from_geometry(1000.0, (1.5, 1.5), (96, 96))
CONFIG = RegistrationConfig(method='image', levels=(48, 96), starts=0, max_tre_mm=6.0)
SHIFT = torch.tensor([3.0, 0.0, -3.0], dtype=torch.float64)
SIDE = se3.from_parts(
    torch.tensor([[0.0, 0, -1], [0, 1, 0], [1, 0, 0]], dtype=torch.float64),
    torch.tensor([700.0, 0, 700.0], dtype=torch.float64),
)


def spheres() -> tuple[torch.Tensor, list[torch.Tensor]]:
    """A trunk, and two bones with knobs in it."""
    z, y, x = torch.meshgrid(*[torch.linspace(-1, 1, 33)] * 3, indexing='ij')
    trunk = 0.02 * torch.sigmoid(20 * (0.9 - (x**2 + y**2).sqrt())) * (1 + 0.3 * (7 * z + x).sin())
    trunk += 0.03 * torch.sigmoid(30 * (0.15 - ((x - 0.6) ** 2 + (y + 0.3) ** 2).sqrt()))
    bones = []
    for height in (-0.45, 0.45):
        ball = ((x + 0.1) ** 2 + y**2 + (z - height) ** 2).sqrt()
        knob = ((x - 0.2) ** 2 + (y - 0.15) ** 2 + (z - height - 0.1) ** 2).sqrt()
        bones.append(torch.maximum((ball < 0.25).float(), (knob < 0.13).float()))
    return (trunk * (1 - z**2)).float(), bones


def volume_of(mu: torch.Tensor) -> AttenuationVolume:
    affine = torch.diag(torch.tensor([2.5, 2.5, 2.5, 1.0], dtype=torch.float64))
    affine[:3, 3] = -40.0
    return AttenuationVolume(mu.contiguous(), affine)


@pytest.fixture(scope='module')
def scene() -> tuple[RegistrationRequest, LabelMap]:
    """Two X-rays in which the first bone has moved."""
    trunk, bones = spheres()
    ct = volume_of(torch.maximum(trunk, 0.06 * torch.stack(bones).amax(0)))
    labels = (bones[0] + 2 * bones[1]).numpy().astype(np.int16)
    front, views = front_pose(ct), []
    motion = se3.from_parts(torch.eye(3, dtype=torch.float64), SHIFT)
    moving = find_target('one', ct, LabelMap(labels, ct.ct_from_index.numpy(), {1: 'one'}))
    assert moving is not None and moving.part is not None
    body, rest = moving.part.bodies[0], moving.part.rest
    for other in (torch.eye(4, dtype=torch.float64), SIDE):
        image = render(rest, other @ front, CAMERA.K, CAMERA.size)
        image = image + render(body.volume, other @ front @ motion, CAMERA.K, CAMERA.size)
        noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(len(views)))
        views.append(View(image + 0.005 * noise, CAMERA, None, se3.inverse(other)))
    names = {1: 'one', 2: 'other'}
    label_map = LabelMap(labels, ct.ct_from_index.numpy(), names)
    return RegistrationRequest(ct, tuple(views), front, CONFIG), label_map


def targeted(scene, name: str, **changes) -> RegistrationRequest:
    request, labels = scene
    request = replace(request, **changes)
    return replace(request, target=find_target(name, request.volume, labels, request.bodies))


@pytest.fixture(scope='module')
def judged(scene):
    """The true pose of what has not moved, and what is said of it for each target."""
    request = scene[0]
    result = register(request, verified=False)
    known = replace(result.verification, estimate=ErrorParts.all_of(0.2))
    poses = (request.start, SIDE @ request.start)
    result = replace(result, camera_from_ct=poses, verification=known)

    def about(name: str, views: int = 2, **settings):
        config = replace(CONFIG, **settings)
        request = targeted(scene, name, views=scene[0].views[:views], config=config)
        poses = result.camera_from_ct[:views]
        return with_target(
            replace(result, camera_from_ct=poses), request, request.target, Course(None)
        )

    return about


def failed(result) -> dict[str, ErrorCode]:
    return {check.name: check.reason for check in result.checks if not check.passed}


def test_a_target_that_has_moved_is_rejected_and_its_bound_covers_the_way(judged):
    result = judged('one')
    assert failed(result)['target_moved_mm'] == ErrorCode.BODY_MOVED
    assert result.verdict == Verdict.REJECTED
    assert result.verification.bound.total_mm > float(SHIFT.norm())


def test_a_target_that_has_not_moved_has_no_such_doubt_and_a_small_bound(judged):
    result = judged('other')
    assert 'target_moved_mm' not in failed(result)
    assert result.verification.bound.total_mm < float(SHIFT.norm())


def test_one_xray_leaves_open_how_far_a_target_has_moved_along_the_beam(judged):
    of_one, of_two = (judged('other', views).verification.bound for views in (1, 2))
    assert of_one.along_mm > 3 * of_one.across_mm
    assert of_one.along_mm > 2 * of_two.along_mm


def test_a_target_that_moves_with_the_rest_is_judged_by_the_pose_alone(judged):
    result = judged('one', target_motion_mm=0.0)
    assert 'target_moved_mm' not in [check.name for check in result.checks]


def test_a_target_is_found_where_it_has_moved_to(scene):
    request = targeted(scene, 'one')
    own = own_pose(request.start, request, request.target.part, request.target, Course(None))
    assert own.certain_mm == pytest.approx(float(SHIFT.norm()), abs=0.6)
    assert isinstance(own.sigma, ErrorParts) and own.sigma.total_mm < 5.0


def test_a_registration_speaks_of_the_target_that_is_asked_for(scene):
    result = register(targeted(scene, 'one'))
    assert result.finding is not None and result.finding.code == ErrorCode.BODY_MOVED
    assert 'moved_part_mm' not in [check.name for check in result.checks]


def test_a_body_as_target_makes_the_verdict_that_of_the_body(scene):
    request, labels = scene
    target = find_target('one', request.volume, labels)
    assert target is not None and target.part is not None
    bodies = Bodies((Body('first', target.part.bodies[0].volume),), target.part.rest)
    result = register(targeted(scene, 'first', bodies=bodies))
    assert failed(result)['target_moved_mm'] == ErrorCode.BODY_MOVED
    (body,) = result.bodies
    assert body.translation_mm == pytest.approx(float(SHIFT.norm()), abs=0.6)


def test_a_box_and_a_number_name_targets_too(scene):
    request, labels = scene
    box = find_target('-20, 10, -15 15, -30 0', request.volume)
    assert box is not None
    assert box.points.amin(0).tolist() == pytest.approx([-20, -15, -30], abs=2.5)
    assert box.points.amax(0).tolist() == pytest.approx([10, 15, 0], abs=2.5)
    by_number, by_name = (find_target(name, request.volume, labels) for name in ('2', 'other'))
    assert torch.equal(by_number.points, by_name.points)
    assert find_target(' ', request.volume) is None


@pytest.mark.parametrize(
    ('name', 'code', 'text'),
    [
        ('liver', ErrorCode.BODY_LABELS, 'no label'),
        ('10 -10 0 1 0 1', ErrorCode.TARGET_INVALID, 'lowest'),
        ('1000 1010 0 10 0 10', ErrorCode.TARGET_INVALID, 'outside'),
        ('-40 -36 -40 -36 -40 -36', ErrorCode.TARGET_INVALID, 'denser than soft tissue'),
    ],
)
def test_a_target_that_is_not_in_the_ct_is_refused(scene, name, code, text):
    request, labels = scene
    with pytest.raises(BodyError, match=text) as caught:
        find_target(name, request.volume, labels)
    assert caught.value.code == code


def test_a_label_without_a_label_map_is_refused_and_the_text_says_what_to_give(scene):
    with pytest.raises(BodyError, match='label map') as caught:
        find_target('vertebrae_L3', scene[0].volume)
    assert caught.value.code == ErrorCode.TARGET_INVALID


def test_a_label_map_of_another_ct_is_refused(scene):
    request, labels = scene
    elsewhere = labels.lps_from_index.copy()
    elsewhere[:3, 3] += 500
    with pytest.raises(BodyError, match='another CT'):
        find_target('one', request.volume, replace(labels, lps_from_index=elsewhere))


def test_a_target_that_an_xray_does_not_show_is_an_error_that_names_it(judged, scene):
    request = targeted(scene, 'one')
    away = se3.from_parts(
        torch.eye(3, dtype=torch.float64), torch.tensor([120.0, 0, 0], dtype=torch.float64)
    )
    gone = replace(judged('other'), camera_from_ct=(away @ request.start,) * 2)
    with pytest.raises(BodyError, match="'one'") as caught:
        with_target(gone, request, request.target, Course(None))
    assert caught.value.code == ErrorCode.TARGET_OUT_OF_VIEW


def test_a_target_behind_a_collimator_leaves_doubt(judged, scene):
    request = targeted(scene, 'one')
    mask = ~request.target.silhouette(request.start, CAMERA)
    views = (replace(request.views[0], mask=mask), request.views[1])
    hidden = with_target(
        judged('other'), replace(request, views=views), request.target, Course(None)
    )
    assert failed(hidden)['target_visible'] == ErrorCode.LITTLE_OVERLAP
