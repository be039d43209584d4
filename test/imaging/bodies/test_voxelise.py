import numpy as np
import pytest
import torch
import trimesh

from sph_reg_ros.errors import BodyError
from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.imaging.bodies.mesh import TriangleMesh
from sph_reg_ros.imaging.bodies.voxelise import coverage_of
from sph_reg_ros.rendering.render import render


def mesh_of(surface: trimesh.Trimesh) -> TriangleMesh:
    return TriangleMesh(np.array(surface.vertices), np.array(surface.faces, np.int64))


def ball(radius: float, centre: tuple[float, float, float]) -> trimesh.Trimesh:
    surface = trimesh.creation.icosphere(subdivisions=4, radius=radius)
    surface.apply_translation(centre)
    return surface


@pytest.mark.parametrize('voxel_mm', [0.5, 2.0])
def test_a_ball_has_its_volume_and_its_middle_whatever_the_voxels(voxel_mm):
    surface = ball(9.7, (3.3, -7.1, 120.9))
    share, mesh_from_index = coverage_of(mesh_of(surface), voxel_mm)
    assert share.sum() * voxel_mm**3 == pytest.approx(surface.volume, rel=2e-3)
    index = np.tensordot(share, np.indices(share.shape), ([0, 1, 2], [1, 2, 3])) / share.sum()
    middle = mesh_from_index[:3, :3] @ index[::-1] + mesh_from_index[:3, 3]
    np.testing.assert_allclose(middle, (3.3, -7.1, 120.9), atol=0.02)
    assert share.min() == pytest.approx(0, abs=1e-6) and share.max() == pytest.approx(1)


def test_voxels_at_a_flat_surface_are_filled_as_far_as_it_reaches():
    surface = trimesh.creation.box((10.3, 7.1, 5.05))
    share, _ = coverage_of(mesh_of(surface), 1.0)
    # The box lies in the middle of 11 x 8 x 6 voxels.
    assert share.shape == (6, 8, 11)
    for values, size in ((share[3, 4], 10.3), (share[3, :, 5], 7.1), (share[:, 4, 5], 5.05)):
        assert values[1:-1] == pytest.approx(1)
        assert values.sum() == pytest.approx(size, abs=2 / 16)


def test_an_inner_surface_leaves_a_hole_and_overlapping_parts_count_once():
    inner = ball(5.0, (0, 0, 0))
    inner.invert()
    hollow = trimesh.util.concatenate([ball(10.0, (0, 0, 0)), inner])
    share, _ = coverage_of(mesh_of(hollow), 0.5)
    assert share.sum() / 8 == pytest.approx(hollow.volume, rel=5e-3) and share[20, 20, 20] == 0
    twice = trimesh.util.concatenate([ball(10.0, (0, 0, 0)), ball(10.0, (1.0, 0, 0))])
    share, _ = coverage_of(mesh_of(twice), 0.5)
    # Two balls of radius r at a distance d have pi (4 r + d) (2 r - d)^2 / 12 in common.
    common = np.pi * 41 * 19**2 / 12
    assert share.sum() / 8 == pytest.approx(2 * 4 / 3 * np.pi * 1000 - common, rel=1e-2)


def test_rays_through_a_voxelised_ball_are_as_long_as_through_the_ball():
    share, mesh_from_index = coverage_of(mesh_of(ball(20.0, (0, 0, 0))), 0.5)
    volume = AttenuationVolume(torch.from_numpy(share), torch.from_numpy(mesh_from_index))
    pose = torch.eye(4, dtype=torch.float64)
    pose[2, 3] = 1000.0
    K = torch.tensor([[2000.0, 0, 31.5], [0, 2000.0, 31.5], [0, 0, 1]], dtype=torch.float64)
    image = render(volume, pose, K, (64, 64), backend='torch').numpy()
    columns, rows = np.meshgrid(np.arange(64) - 31.5, np.arange(64) - 31.5)
    from_axis = 1000 * np.sin(np.arctan(np.hypot(columns, rows) / 2000))
    chord = 2 * np.sqrt(np.maximum(20.0**2 - from_axis**2, 0))
    assert np.abs(image - chord).max() < 0.7
    assert np.abs(image - chord)[chord > 10].mean() < 0.1


def test_too_many_voxels_are_refused_with_advice():
    with pytest.raises(BodyError, match='larger voxel_mm'):
        coverage_of(mesh_of(ball(450.0, (0, 0, 0))), 0.5)
