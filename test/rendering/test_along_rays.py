"""The part of the Jacobian that a shift along the rays cannot have."""

import pytest
import torch
from phantoms import pose_in_front, smooth_phantom

from sph_reg_ros.geometry import Camera, se3
from sph_reg_ros.geometry.se3 import TWIST_LENGTH_MM
from sph_reg_ros.rendering.along_rays import project_out_ray_motion
from sph_reg_ros.rendering.render import render_with_jacobian
from sph_reg_ros.rendering.sampling import unit_directions

CAMERA = Camera.from_geometry(1000.0, (4.0, 5.0), (33, 26), principal_point=(10.0, 18.0))
RAYS = unit_directions(CAMERA.K, CAMERA.size)


def relative_rms(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a.double() - b.double()).norm() / b.double().norm())


def jacobians(step_mm: float | None) -> tuple[torch.Tensor, torch.Tensor]:
    volume = smooth_phantom((40, 44, 48), torch.eye(4, dtype=torch.float64))
    pose = pose_in_front(volume)
    _, jacobian = render_with_jacobian(
        volume,
        pose,
        CAMERA.K,
        CAMERA.size,
        backend='torch',
        step_mm=step_mm,
        without_ray_motion=False,
    )
    centre = se3.transform_points(pose, volume.centre[None])[0]
    return jacobian, project_out_ray_motion(jacobian, centre, RAYS, TWIST_LENGTH_MM)


def test_a_fine_quadrature_has_nothing_to_take_away():
    jacobian, projected = jacobians(0.02)
    for column in range(6):
        assert relative_rms(projected[..., column], jacobian[..., column]) < 0.05


@pytest.mark.parametrize('column', [0, 1, 2, 5])
def test_a_coarse_quadrature_comes_nearer_to_a_fine_one(column):
    exact, _ = jacobians(0.02)
    jacobian, projected = jacobians(2.0)
    before = relative_rms(jacobian[..., column], exact[..., column])
    assert relative_rms(projected[..., column], exact[..., column]) < before


def test_what_is_left_is_blind_to_every_shift_along_the_rays():
    _, projected = jacobians(2.0)
    rays = torch.cartesian_prod(torch.arange(33.0), torch.arange(26.0)).double()
    pixels = torch.stack([rays[:, 1], rays[:, 0], torch.ones(len(rays)).double()], -1)
    c = pixels @ torch.linalg.inv(CAMERA.K).T
    c = (c / c.norm(dim=-1, keepdim=True)).reshape(33, 26, 3)
    along = (projected[..., 3:] * c).sum(-1)
    assert float(along.abs().max()) < 1e-9 * float(projected[..., 3:].abs().max())


@pytest.mark.parametrize('backend', ['numba', 'torch'])
def test_renderers_leave_motion_along_the_rays_out_by_themselves(backend):
    volume = smooth_phantom((40, 44, 48), torch.eye(4, dtype=torch.float64))
    poses = torch.stack([pose_in_front(volume), pose_in_front(volume, 1.2)])
    found, sampled = (
        render_with_jacobian(
            volume, poses, CAMERA.K, CAMERA.size, backend=backend, without_ray_motion=without
        )[1]
        for without in (True, False)
    )
    centres = se3.transform_points(poses, volume.centre[None])[:, 0]
    expected = project_out_ray_motion(sampled, centres, RAYS, TWIST_LENGTH_MM)
    for column in range(6):
        assert relative_rms(found[..., column], expected[..., column]) < 1e-5
    assert relative_rms(sampled[..., 5], expected[..., 5]) > 1e-3
