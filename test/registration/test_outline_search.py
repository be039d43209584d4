import math

import cv2
import numpy as np
import pytest
import torch

from sph_reg_ros.errors import BodyError, ErrorCode
from sph_reg_ros.geometry import Camera, se3, so3
from sph_reg_ros.registration.outline_search import (
    OutlineSearch,
    find_outlines,
    follow_outlines,
    mean_distance_mm,
)
from sph_reg_ros.registration.view import View
from sph_reg_ros.rendering.outline import Edges, draw_silhouette, project

CAMERA = Camera.from_geometry(1000.0, (0.6, 0.6), (256, 256))
WIDTHS = torch.tensor([math.radians(4)] * 3 + [3.0] * 3, dtype=torch.float64)


def implant() -> Edges:
    """An L with a slanted foot: no two views of it look alike."""
    outer = [(-20, -25), (15, -25), (24, -12), (-6, -10), (-4, 25), (-20, 20)]
    low = [(x, y, -9.0 + 0.15 * y) for x, y in outer]
    high = [(0.8 * x, 0.9 * y, 12.0) for x, y in outer]
    n = len(outer)
    faces = [[0, 2, 1], [0, 3, 2], [0, 4, 3], [0, 5, 4]]
    faces += [[n + a for a in reversed(face)] for face in faces]
    for a in range(n):
        b = (a + 1) % n
        faces += [[a, b, n + a], [b, n + b, n + a]]
    return Edges.of_mesh(np.array(low + high, float), np.array(faces))


def xray(body: Edges, pose: torch.Tensor, fixed_from_camera: torch.Tensor, seed: int) -> View:
    """An opaque body, blurred, beside a step of bone, in noise."""
    fine = CAMERA.rescale(1024, 1024)
    mask = np.zeros(fine.size, np.uint8)
    draw_silhouette(mask, body, project(body, pose.numpy(), fine.K.numpy())[1], (0, 0))
    counts = np.full(fine.size, 0.8, np.float32)
    counts[:, 540:] = 0.45
    counts = np.where(mask > 0, 0.15, counts)
    counts = cv2.resize(counts, (256, 256), interpolation=cv2.INTER_AREA)
    counts = cv2.GaussianBlur(counts, (0, 0), 0.8)
    counts += np.random.default_rng(seed).normal(0, 0.01, counts.shape).astype(np.float32)
    return View(torch.from_numpy(-np.log(counts)), CAMERA, None, fixed_from_camera)


def turned(axis: int, angle: float, shift: tuple[float, float, float]) -> torch.Tensor:
    omega = torch.zeros(3, dtype=torch.float64)
    omega[axis] = angle
    return se3.from_parts(so3.exp(omega), torch.tensor(shift, dtype=torch.float64))


@pytest.fixture(scope='module')
def two_views():
    body = implant()
    pose = turned(0, 0.5, (3.0, -4.0, 800.0))
    # The second camera looks across.
    second = turned(1, math.pi / 2, (-800.0, 0.0, 800.0))
    views = [
        xray(body, pose, torch.eye(4, dtype=torch.float64), 1),
        xray(body, se3.inverse(second) @ pose, second, 2),
    ]
    return body, pose, views


def off(pose: torch.Tensor, body: Edges, size: float) -> torch.Tensor:
    twist = torch.tensor([0.6, -0.5, 0.6, 0.6, 0.5, -0.6], dtype=torch.float64)
    twist = twist * torch.tensor([0.1 * size] * 3 + [6.0 * size] * 3)
    return se3.apply_twist(twist, pose, torch.from_numpy(body.centre))


def test_an_implant_is_found_from_a_rough_start(two_views):
    body, pose, views = two_views
    search = OutlineSearch(starts=4, survivors=2)
    start = off(pose, body, 1.0)
    (fit,) = find_outlines(views, [body], [start], [WIDTHS], search=search)
    assert mean_distance_mm(body, start, pose) > 5
    assert mean_distance_mm(body, fit.pose, pose) < 0.15
    assert min(fit.evidence.explained) > 0.8


def test_an_implant_is_followed(two_views):
    body, pose, views = two_views
    (fit,) = follow_outlines(views, [body], [off(pose, body, 0.3)])
    assert mean_distance_mm(body, fit.pose, pose) < 0.2


def test_one_view_says_that_its_depth_is_uncertain(two_views):
    body, pose, views = two_views
    (one,) = follow_outlines(views[:1], [body], [pose])
    (two,) = follow_outlines(views, [body], [pose])
    depth_of_one, depth_of_two = (float(fit.evidence.covariance[5, 5].sqrt()) for fit in (one, two))
    assert depth_of_one > 5 * depth_of_two
    centre = torch.from_numpy(body.centre)[None]
    shift = se3.transform_points(one.pose, centre) - se3.transform_points(pose, centre)
    assert float(shift[0, 2].abs()) < 3 * depth_of_one


def test_a_wrong_pose_explains_less_of_its_outline(two_views):
    body, pose, views = two_views
    (right,) = follow_outlines(views, [body], [pose])
    (wrong,) = follow_outlines(views, [body], [off(pose, body, 5.0)])
    assert mean_distance_mm(body, wrong.pose, pose) > 2
    assert wrong.explained < right.explained - 0.2


def test_a_body_that_is_not_in_view_is_named(two_views):
    body, pose, views = two_views
    away = turned(0, 0.0, (300.0, 0.0, 0.0)) @ pose
    with pytest.raises(BodyError) as caught:
        follow_outlines(views, [body], [away])
    assert caught.value.code == ErrorCode.BODY_OUT_OF_VIEW
