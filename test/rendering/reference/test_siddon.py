"""Siddon's path integrals against chords computed by hand and against brute force."""

import pytest
import torch

pytest.importorskip('diffdrr.renderers')

from sph_reg_ros.geometry import Camera, se3
from sph_reg_ros.rendering.reference.siddon import signed_path_integrals

SHAPE_KJI = (20, 45, 60)
SPACING_MM = (0.7, 0.9, 2.5)


@pytest.fixture
def camera_from_index() -> torch.Tensor:
    """Return an oblique view of an anisotropic grid whose centre lies off the optical axis."""
    centred = torch.eye(4, dtype=torch.float64)
    centred[:3, 3] = -(torch.tensor(SHAPE_KJI[::-1], dtype=torch.float64) - 1) / 2
    spacing = torch.diag(torch.tensor([*SPACING_MM, 1.0], dtype=torch.float64))
    twist = torch.tensor([0.3, -0.5, 0.8, 4.0, -6.0, 300.0], dtype=torch.float64)
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3] = se3.exp(twist)[:3, :3]
    pose[:3, 3] = twist[3:]
    return pose @ spacing @ centred


@pytest.fixture
def camera() -> Camera:
    return Camera.from_geometry(500.0, (1.1, 0.9), (70, 90), principal_point=(40.0, 38.0))


def box_volume(lower: tuple[int, ...], upper: tuple[int, ...]) -> torch.Tensor:
    volume = torch.zeros(SHAPE_KJI)
    volume[lower[2] : upper[2], lower[1] : upper[1], lower[0] : upper[0]] = 1.0
    return volume


def box_chords_mm(
    lower: tuple[int, ...], upper: tuple[int, ...], camera_from_index: torch.Tensor, camera: Camera
) -> torch.Tensor:
    """Return the length of each pixel's ray inside the voxels lower <= index < upper."""
    v, u = torch.meshgrid(
        torch.arange(camera.height).double(), torch.arange(camera.width).double(), indexing='ij'
    )
    ray_mm = torch.stack([u, v, torch.ones_like(u)], -1) @ torch.linalg.inv(camera.K).T
    inverse = torch.linalg.inv(camera_from_index)
    origin, direction = inverse[:3, 3], ray_mm @ inverse[:3, :3].T
    # Voxel i covers [i - 1/2, i + 1/2]: its centre is the integer.
    planes = [(torch.tensor(edge).double() - 0.5 - origin) / direction for edge in (lower, upper)]
    near = torch.minimum(*planes).amax(-1)
    far = torch.maximum(*planes).amin(-1)
    return (far - near).clamp(min=0) * ray_mm.norm(dim=-1)


@pytest.mark.parametrize(
    ('lower', 'upper'),
    [((5, 8, 3), (41, 20, 9)), ((0, 0, 0), (60, 45, 20)), ((59, 44, 19), (60, 45, 20))],
)
def test_the_chords_of_a_box_of_voxels_are_exact(lower, upper, camera_from_index, camera):
    expected = box_chords_mm(lower, upper, camera_from_index, camera)
    chords, negative = signed_path_integrals(
        box_volume(lower, upper), camera_from_index, camera.K, camera.size
    )
    assert expected.max() > 1.0
    assert (chords - expected).abs().max() < 5e-3
    assert negative.abs().max() == 0


def test_a_half_voxel_shift_would_be_noticed(camera_from_index, camera):
    lower, upper = (5, 8, 3), (41, 20, 9)
    shifted = camera_from_index.clone()
    shifted[:3, 3] += shifted[:3, :3] @ torch.full((3,), 0.5, dtype=torch.float64)
    expected = box_chords_mm(lower, upper, camera_from_index, camera)
    chords, _ = signed_path_integrals(box_volume(lower, upper), shifted, camera.K, camera.size)
    assert (chords - expected).abs().max() > 1.0


def test_it_agrees_with_brute_force_sums_of_the_nearest_voxel(camera_from_index, camera):
    volume = torch.rand(SHAPE_KJI, generator=torch.Generator().manual_seed(3))
    pixels = torch.tensor([[38.0, 40.0], [10.0, 20.0], [60.0, 71.0], [25.0, 55.0]]).double()
    image, _ = signed_path_integrals(volume, camera_from_index, camera.K, camera.size)
    inverse = torch.linalg.inv(camera_from_index)
    for v, u in pixels.tolist():
        ray = torch.linalg.inv(camera.K) @ torch.tensor([u, v, 1.0], dtype=torch.float64)
        step_mm, reach_mm = 0.01, torch.arange(20000, 45000) * 0.01
        points = ray / ray.norm() * (reach_mm[:, None] + step_mm / 2)
        index = torch.round(points @ inverse[:3, :3].T + inverse[:3, 3]).long()
        inside = ((index >= 0) & (index < torch.tensor(SHAPE_KJI[::-1]))).all(-1)
        i, j, k = index[inside].T
        expected = float(volume[k, j, i].sum()) * step_mm
        assert expected > 1.0
        assert float(image[int(v), int(u)]) == pytest.approx(expected, rel=2e-3)


def test_positive_and_negative_voxels_are_two_materials_of_one_pass(camera_from_index, camera):
    generator = torch.Generator().manual_seed(5)
    volume = torch.randn(SHAPE_KJI, generator=generator)
    positive, negative = signed_path_integrals(volume, camera_from_index, camera.K, camera.size)
    alone, _ = signed_path_integrals(volume.clamp(min=0), camera_from_index, camera.K, camera.size)
    inverted, _ = signed_path_integrals(
        (-volume).clamp(min=0), camera_from_index, camera.K, camera.size
    )
    torch.testing.assert_close(positive, alone)
    torch.testing.assert_close(negative, inverted)


def test_rays_beside_the_volume_integrate_to_zero(camera_from_index, camera):
    image, _ = signed_path_integrals(
        torch.ones(SHAPE_KJI), camera_from_index, camera.K, camera.size
    )
    expected = box_chords_mm((0, 0, 0), SHAPE_KJI[::-1], camera_from_index, camera)
    assert (expected == 0).any()
    assert image[expected == 0].abs().max() == 0
