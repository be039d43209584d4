"""X-rays cut to where a part of the anatomy projects, and its registration there."""

import math

import pytest
import torch
from phantoms import pose_in_front, smooth_phantom

from sph_reg_ros.errors import SolverError
from sph_reg_ros.geometry import Camera, se3
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.part import register_part
from sph_reg_ros.registration.part_search import PartSearch
from sph_reg_ros.registration.region import around_projection
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.view import View
from sph_reg_ros.rendering.render import render

CAMERA = Camera.from_geometry(1000.0, (0.8, 0.8), (320, 280))
VOLUME = smooth_phantom()
TRUTH = pose_in_front(VOLUME)


def whole_view(camera: Camera = CAMERA) -> View:
    """Return an X-ray that shows the part and, on its left and below, more."""
    image = render(VOLUME, TRUTH, camera.K, camera.size)
    v = torch.arange(camera.height)[:, None] / camera.height
    u = torch.arange(camera.width)[None] / camera.width
    other = (
        0.5 * image.max() * torch.exp(-(((u - 0.1) / 0.05) ** 2)) * (1 + 0.2 * torch.sin(20 * v))
    )
    mask = torch.ones(camera.size, dtype=torch.bool)
    mask[:, :3] = False
    return View(image + other, camera, mask)


def test_the_cut_view_shows_the_same_part_of_the_image_through_its_own_camera():
    view = whole_view()
    part = around_projection(view, VOLUME, TRUTH, 5.0)
    assert part.camera.height < view.camera.height and part.camera.width < view.camera.width
    whole, cut = (render(VOLUME, TRUTH, v.camera.K, v.camera.size) for v in (view, part))
    top, left = (whole == whole.max()).nonzero()[0] - (cut == cut.max()).nonzero()[0]
    rows, columns = part.line_integrals.shape
    expected = view.line_integrals[top : top + rows, left : left + columns]
    assert torch.equal(part.line_integrals, expected)
    assert torch.allclose(cut, whole[top : top + rows, left : left + columns], atol=1e-4)


@pytest.mark.parametrize('margin_mm', [3.0, 10.0])
def test_the_mask_holds_the_silhouette_and_the_margin_and_little_more(margin_mm):
    part = around_projection(whole_view(), VOLUME, TRUTH, margin_mm)
    image = render(VOLUME, TRUTH, part.camera.K, part.camera.size)
    shadow = image > 0.02 * image.max()
    assert bool(part.mask[shadow].all())
    margin_px = margin_mm * part.camera.focal_length / 700
    rows = shadow.any(1).nonzero()[:, 0]
    kept = part.mask.any(1).nonzero()[:, 0]
    for beyond in (int(rows[0] - kept[0]), int(kept[-1] - rows[-1])):
        assert 0.7 * margin_px - 2 < beyond < 1.3 * margin_px + 8


def test_pixels_that_were_not_usable_stay_so():
    view = whole_view()
    blocked = torch.ones(view.camera.size, dtype=torch.bool)
    blocked[140:150] = False
    part = around_projection(View(view.line_integrals, CAMERA, blocked), VOLUME, TRUTH, 5.0)
    gaps = (~part.mask.any(1)).nonzero()
    assert len(gaps) >= 10


def test_a_part_that_does_not_project_into_the_image_is_refused():
    aside = TRUTH.clone()
    aside[0, 3] += 2000.0
    with pytest.raises(SolverError, match='does not project'):
        around_projection(whole_view(), VOLUME, aside, 5.0)
    behind = TRUTH.clone()
    behind[2, 3] -= 2000.0
    with pytest.raises(SolverError, match='behind the source'):
        around_projection(whole_view(), VOLUME, behind, 5.0)


def test_a_part_is_found_beside_other_anatomy():
    twist = torch.tensor([0.1, -0.08, 0.1, 4.0, -5.0, 6.0], dtype=torch.float64)
    start = se3.apply_twist(twist, TRUTH, VOLUME.centre)
    config = RegistrationConfig(
        similarity='gradient_ncc',
        levels=(32, 64, 96),
        search_rotation_rad=math.radians(6),
        search_in_plane_mm=5.0,
        search_depth_mm=6.0,
    )
    search = PartSearch(margin_mm=12.0, samples=40, refined=3, survivors=2)
    request = RegistrationRequest(VOLUME, (whole_view(),), start, config)
    result = register_part(request, search)
    found, expected = (
        se3.transform_points(T, VOLUME.centre[None])[0] for T in (result.camera_from_ct[0], TRUTH)
    )
    assert float((found - expected)[:2].norm()) < 0.3
    # One view of so smooth a part does not tell its depth: the initial pose does.
    assert float((found - expected)[2].abs()) < 6.0
    assert result.similarity_after > 0.9
