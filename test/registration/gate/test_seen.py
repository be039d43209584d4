"""What is seen of the CT: starts and rivals of the gate go by it, whatever the field of view."""

import math

import pytest
import torch
from phantoms import AFFINE, pose_in_front, smooth_phantom
from registration_scenes import CAMERA, CONFIG

from sph_reg_ros.geometry import Camera, se3
from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.registration.gate.evidence import Evidence
from sph_reg_ros.registration.gate.reproducibility import other_starts
from sph_reg_ros.registration.gate.rival_poses import best_rival
from sph_reg_ros.registration.gate.seen import seen_of
from sph_reg_ros.registration.gate.verify import verify
from sph_reg_ros.registration.level import Level
from sph_reg_ros.registration.pyramid import build_level
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.result import Verdict
from sph_reg_ros.registration.view import View
from sph_reg_ros.rendering.render import render

PHANTOM = smooth_phantom()
TRUTH = pose_in_front(PHANTOM)


def level_of(volume, pose, *views, config=CONFIG) -> Level:
    return build_level(RegistrationRequest(volume, views, pose, config), 96, 'numba')


def evidence_of(volume, pose, camera, at=None) -> Evidence:
    view = View(render(volume, pose, camera.K, camera.size).float(), camera)
    request = RegistrationRequest(volume, (view,), pose, CONFIG)
    levels = [build_level(request, height, 'numba') for height in CONFIG.levels]
    return Evidence.of_pose(levels, pose if at is None else at, None, CONFIG)


def test_what_is_seen_lies_about_the_middle_of_the_usable_pixels_and_is_as_large():
    image = torch.rand(CAMERA.size)
    mask = torch.zeros(CAMERA.size, dtype=torch.bool)
    mask[50:70, 40:60] = True
    seen = seen_of(level_of(PHANTOM, TRUTH, View(image, CAMERA, mask)), TRUTH)
    there = se3.transform_points(TRUTH, seen.centre[None])
    assert CAMERA.project(there)[0].tolist() == pytest.approx([49.5, 59.5], abs=0.1)
    assert seen.size_mm == pytest.approx(20 * 1.5 * float(there[0, 2]) / 1000, rel=1e-3)
    assert seen.points.mean(0).tolist() == pytest.approx(seen.centre.tolist())
    whole = seen_of(level_of(PHANTOM, TRUTH, View(image, CAMERA)), TRUTH)
    assert whole.share == pytest.approx(seen.share * whole.size_mm / seen.size_mm)
    assert whole.turn_share > seen.turn_share > seen.share


def test_two_beams_cross_in_the_middle_of_what_is_seen():
    about = PHANTOM.centre + torch.tensor([6.0, -4.0, 5.0], dtype=torch.float64)
    turn = torch.tensor([0.0, 1.3, 0.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    camera = Camera.from_geometry(1000.0, (1.5, 1.5), (96, 96))
    poses = [TRUTH, se3.apply_twist(turn, TRUTH, about)]
    for pose in poses:
        pose[:2, 3] -= se3.transform_points(pose, about[None])[0, :2]
    views = [
        View(torch.rand(camera.size), camera, fixed_from_camera=se3.inverse(pose)) for pose in poses
    ]
    seen = seen_of(level_of(PHANTOM, TRUTH, *views), poses[0])
    assert seen.centre.tolist() == pytest.approx(about.tolist(), abs=0.01)


def test_other_starts_look_as_far_away_in_any_field_and_at_any_size():
    moved_px = []
    for zoom, scale, distance_mm in ((2.0, 1.0, 700.0), (4.0, 1.0, 700.0), (2.0, 0.2, 140.0)):
        size = torch.tensor([scale] * 3 + [1.0], dtype=torch.float64)
        volume = AttenuationVolume(PHANTOM.mu / scale, size[:, None] * AFFINE)
        pose = pose_in_front(volume, distance_mm)
        camera = Camera.from_geometry(1000.0, (2.0 / zoom, 2.0 / zoom), (96, 96))
        evidence = evidence_of(volume, pose, camera)
        centre = se3.transform_points(
            torch.cat([pose[None], other_starts(evidence)]), evidence.seen.centre[None]
        )[:, 0]
        pixels = camera.project(centre)
        moved_px.append(float((pixels[1:] - pixels[0]).norm(dim=-1).mean()))
    assert max(moved_px) < 1.25 * min(moved_px)


def test_a_small_specimen_close_to_the_source_is_verified():
    shrink = torch.diag(torch.tensor([0.25, 0.25, 0.25, 1.0], dtype=torch.float64))
    specimen = AttenuationVolume(4 * PHANTOM.mu, shrink @ AFFINE)
    camera = Camera.from_geometry(300.0, (0.4, 0.4), (96, 96))
    pose = pose_in_front(specimen, distance_mm=200.0)
    pose[:2, 3] *= 0.25
    assert verify(evidence_of(specimen, pose, camera)).verdict == Verdict.VERIFIED


def vertebrae(spacing_mm: float) -> AttenuationVolume:
    """Return bones in a row along z, alike but for what a seeded generator adds to each."""
    z, y, x = torch.meshgrid(*(torch.arange(float(n)) for n in (120, 40, 40)), indexing='ij')
    generator = torch.Generator().manual_seed(3)
    mu = torch.zeros(120, 40, 40)
    for middle in torch.arange(-3, 4) * spacing_mm / 2 + 60:
        for width in (5.0, 2.5):
            off = (torch.rand(3, generator=generator) - 0.5) * 8 * (width < 3)
            square = (z - middle - off[0]) ** 2 + (y - 20 - off[1]) ** 2 + (x - 20 - off[2]) ** 2
            mu += 0.02 * torch.exp(-square / (2 * width**2))
    affine = torch.diag(torch.tensor([2.0, 2.0, 2.0, 1.0], dtype=torch.float64))
    return AttenuationVolume(mu, affine)


@pytest.mark.parametrize(('spacing_mm', 'field_mm'), [(22.0, 60.0), (40.0, 140.0)])
def test_one_vertebra_off_the_right_one_is_found_in_any_field(spacing_mm, field_mm):
    volume = vertebrae(spacing_mm)
    upright = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]], dtype=torch.float64)
    truth = se3.from_parts(upright, torch.tensor([0.0, 0, 700]).double() - upright @ volume.centre)
    camera = Camera.from_geometry(1000.0, (field_mm / 70, field_mm / 70), (96, 96))
    wrong = truth.clone()
    wrong[1, 3] += spacing_mm
    rival = best_rival(evidence_of(volume, truth, camera, wrong))
    assert rival is not None and rival.gain > 0
    assert math.isclose(rival.distance_mm, spacing_mm, abs_tol=3.0)
    again = best_rival(evidence_of(volume, truth, camera))
    assert again is None or again.gain < 0
