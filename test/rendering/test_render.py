"""What one call of the renderer promises: lengths, the choice of the backend, bad settings."""

import importlib.util
from dataclasses import replace

import pytest
import torch
from phantoms import AFFINE, box_phantom, pose_in_front, smooth_phantom
from render_scenes import relative_rms

from sph_reg_ros.errors import ConfigError, ErrorCode
from sph_reg_ros.geometry import Camera, se3
from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.rendering.render import render, render_with_jacobian, resolve_backend

CAMERA = Camera.from_geometry(1000.0, (4.0, 5.0), (33, 26), principal_point=(10.0, 18.0))

needs_diffdrr = pytest.mark.skipif(
    importlib.util.find_spec('diffdrr') is None, reason='diffdrr is not installed'
)


@pytest.mark.parametrize('backend', ['numba', 'torch'])
def test_a_ray_through_a_box_measures_its_thickness(backend):
    affine = torch.diag(torch.tensor([2.0, 1.5, 3.0, 1.0], dtype=torch.float64))
    volume = box_phantom(0.02, (30, 40, 50), affine)
    turn = se3.from_parts(torch.eye(3).double(), torch.tensor([0, 0, 900.0]) - volume.centre)
    camera = Camera.from_geometry(1000.0, (0.1, 0.1), (3, 3))
    image = render(volume, turn, camera.K, camera.size, backend=backend, step_mm=0.02)
    # Interpolation to the zeros around adds half a voxel at each end.
    assert float(image[1, 1]) == pytest.approx(0.02 * 30 * 3.0, rel=1e-4)


@needs_diffdrr
def test_siddon_measures_the_same_box():
    affine = torch.diag(torch.tensor([2.0, 1.5, 3.0, 1.0], dtype=torch.float64))
    volume = box_phantom(0.02, (30, 40, 50), affine)
    turn = se3.from_parts(torch.eye(3).double(), torch.tensor([0, 0, 900.0]) - volume.centre)
    camera = Camera.from_geometry(1000.0, (0.1, 0.1), (3, 3))
    image = render(volume, turn, camera.K, camera.size, backend='diffdrr')
    assert float(image[1, 1]) == pytest.approx(0.02 * 30 * 3.0, rel=1e-4)


@needs_diffdrr
def test_siddon_shows_the_phantom_where_the_sampling_renderers_do():
    volume = smooth_phantom(
        (48, 80, 72), AFFINE @ torch.diag(torch.tensor([0.5, 0.5, 0.5, 1]).double())
    )
    pose = pose_in_front(volume)
    expected = render(volume, pose, CAMERA.K, CAMERA.size, backend='numba', step_mm=0.2)
    image = render(volume, pose, CAMERA.K, CAMERA.size, backend='diffdrr')
    assert relative_rms(image, expected) < 0.01


def test_storing_the_volume_with_flipped_axes_changes_nothing():
    volume = smooth_phantom()
    flip = torch.eye(4, dtype=torch.float64)
    flip[0, 0], flip[0, 3] = -1, volume.shape[2] - 1
    flipped = AttenuationVolume(volume.mu.flip(2).contiguous(), volume.ct_from_index @ flip)
    pose = pose_in_front(volume)
    image, flipped_image = (
        render(v, pose, CAMERA.K, CAMERA.size, backend='numba') for v in (volume, flipped)
    )
    assert relative_rms(flipped_image, image) < 1e-5


def test_a_finer_step_converges():
    volume = smooth_phantom()
    pose = pose_in_front(volume)
    fine = render(volume, pose, CAMERA.K, CAMERA.size, step_mm=0.02)
    errors = [
        relative_rms(render(volume, pose, CAMERA.K, CAMERA.size, step_mm=step), fine)
        for step in (2.0, 1.0, 0.25)
    ]
    assert errors[0] > errors[2] and errors[2] < 1e-3


def test_auto_names_the_backend_that_it_picks():
    assert resolve_backend('auto', smooth_phantom()) == 'numba'


def test_an_unknown_backend_is_refused():
    with pytest.raises(ConfigError, match='none of') as error:
        resolve_backend('cuda', smooth_phantom())
    assert error.value.code == ErrorCode.CONFIG_INVALID


def test_diffdrr_is_refused_where_a_derivative_is_needed():
    volume = smooth_phantom()
    with pytest.raises(ConfigError) as error:
        render_with_jacobian(
            volume, pose_in_front(volume), CAMERA.K, CAMERA.size, backend='diffdrr'
        )
    assert error.value.code == ErrorCode.BACKEND_UNAVAILABLE


@pytest.mark.parametrize('backend', ['numba', 'torch'])
@pytest.mark.parametrize('step', [0.0, -1.0, float('nan')])
def test_a_step_that_is_not_positive_is_refused(backend, step):
    volume = smooth_phantom()
    with pytest.raises(ConfigError):
        render(volume, pose_in_front(volume), CAMERA.K, CAMERA.size, backend=backend, step_mm=step)


def test_each_row_of_a_line_scan_is_a_pinhole_image_from_its_own_source():
    volume = smooth_phantom()
    pose = pose_in_front(volume)
    camera = replace(CAMERA, scan_depth_mm=700.0)
    image = render(
        volume, pose, camera.K, camera.size, backend='numba', scan_depth_mm=camera.scan_depth_mm
    )
    for row in (0, 18, 32):
        beside = se3.from_parts(torch.eye(3).double(), torch.tensor([0, -(row - 18) * 2.8, 0.0]))
        central = CAMERA.crop(18, 0, 1, CAMERA.width)
        expected = render(volume, beside @ pose, central.K, central.size, backend='numba')
        assert relative_rms(image[row], expected[0]) < 1e-5


@pytest.mark.parametrize('turns', [0, 1])
def test_motion_along_the_rays_of_a_line_scan_is_projected_out_alike(turns):
    volume = smooth_phantom()
    camera = replace(CAMERA, scan_depth_mm=700.0).rotate90(turns)
    args = (volume, pose_in_front(volume), camera.K, camera.size)
    (_, jacobian), (_, expected) = (
        render_with_jacobian(*args, backend=backend, scan_depth_mm=camera.scan_depth_mm)
        for backend in ('numba', 'torch')
    )
    for column in range(6):
        assert relative_rms(jacobian[..., column], expected[..., column]) < 1e-3


@needs_diffdrr
def test_siddon_refuses_line_scans():
    volume = smooth_phantom()
    with pytest.raises(ConfigError, match='line scans'):
        render(
            volume,
            pose_in_front(volume),
            CAMERA.K,
            CAMERA.size,
            backend='diffdrr',
            scan_depth_mm=700,
        )
