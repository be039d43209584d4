"""What only the CPU renderer does: 16-bit storage, skipping of air, a cache, no lock held."""

import os
import subprocess
import sys
import threading
import time

import numba
import numpy as np
import pytest
import torch
from phantoms import pose_in_front, smooth_phantom

from sph_reg_ros.errors import CTError
from sph_reg_ros.geometry import Camera
from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.rendering.cpu import volume as module
from sph_reg_ros.rendering.cpu.volume import BRICK, packed
from sph_reg_ros.rendering.render import render, render_with_jacobian

CAMERA = Camera.from_geometry(1000.0, (9.0, 9.0), (21, 18), principal_point=(7.0, 12.0))


def relative_rms(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a.double() - b.double()).norm() / b.double().norm())


def noisy_phantom(shape: tuple[int, int, int], spacing_mm: float = 1.0) -> AttenuationVolume:
    affine = torch.diag(torch.tensor([spacing_mm] * 3 + [1.0], dtype=torch.float64))
    volume = smooth_phantom(shape, affine)
    noise = torch.rand(shape, generator=torch.Generator().manual_seed(4))
    return AttenuationVolume(volume.mu * (0.8 + 0.4 * noise), affine)


def surrounded_by_air(volume: AttenuationVolume, margin: int) -> AttenuationVolume:
    padding = torch.eye(4, dtype=torch.float64)
    padding[:3, 3] = -margin
    mu = torch.nn.functional.pad(volume.mu, (margin,) * 6)
    return AttenuationVolume(mu, volume.ct_from_index @ padding)


def test_sixteen_bits_keep_image_and_every_column_of_the_jacobian(monkeypatch):
    monkeypatch.setattr(module, 'MOST_IN_FLOATS', 0)
    volume = noisy_phantom((96, 110, 120))
    assert packed(volume).values.dtype == np.uint16
    pose = pose_in_front(volume, 700.0)
    images = [
        render_with_jacobian(volume, pose, CAMERA.K, CAMERA.size, backend=backend)
        for backend in ('numba', 'torch')
    ]
    (image, jacobian), (expected, expected_jacobian) = images
    assert relative_rms(image, expected) < 1e-4
    for column in range(6):
        assert relative_rms(jacobian[..., column], expected_jacobian[..., column]) < 1e-3


def test_negative_attenuation_is_stored_in_full(monkeypatch):
    monkeypatch.setattr(module, 'MOST_IN_FLOATS', 0)
    positive = noisy_phantom((20, 24, 28))
    volume = AttenuationVolume(-positive.mu, positive.ct_from_index)
    pose = pose_in_front(volume, 700.0)
    image, mirrored = (render(v, pose, CAMERA.K, CAMERA.size) for v in (positive, volume))
    assert packed(volume).values.dtype == np.float32
    assert relative_rms(-mirrored, image) < 1e-4


def test_air_is_skipped_without_a_trace():
    body = noisy_phantom((20, 24, 28))
    volume = surrounded_by_air(body, 5 * BRICK)
    assert 0 < packed(volume).occupied.mean() < 0.5
    pose = pose_in_front(body, 700.0)
    image, jacobian = render_with_jacobian(volume, pose, CAMERA.K, CAMERA.size, backend='numba')
    expected, _ = render_with_jacobian(body, pose, CAMERA.K, CAMERA.size, backend='torch')
    everywhere = packed(volume).occupied
    flags = everywhere.copy()
    everywhere[:] = 1  # as if nothing were air
    marched = render_with_jacobian(volume, pose, CAMERA.K, CAMERA.size, backend='numba')
    everywhere[:] = flags
    assert relative_rms(image, expected) < 1e-5
    assert relative_rms(image, marched[0]) < 1e-6
    assert relative_rms(jacobian, marched[1]) < 1e-5


def test_a_lone_voxel_far_from_everything_is_not_taken_for_air():
    mu = torch.zeros(60, 60, 60)
    mu[41, 17, 33] = 0.05
    volume = AttenuationVolume(mu, torch.eye(4, dtype=torch.float64))
    pose = pose_in_front(volume, 700.0)
    camera = Camera.from_geometry(1000.0, (0.5, 0.5), (240, 240))
    image = render(volume, pose, camera.K, camera.size, backend='numba')
    expected = render(volume, pose, camera.K, camera.size, backend='torch')
    assert float(expected.max()) > 0
    assert relative_rms(image, expected) < 1e-5


@pytest.mark.parametrize('size', [(1, 1), (3, 5), (31, 33), (64, 47)])
def test_odd_image_sizes_are_crops_of_a_larger_image(size):
    volume = noisy_phantom((20, 24, 28))
    pose = pose_in_front(volume, 700.0)
    large = render(volume, pose, CAMERA.K, (64, 64), backend='numba')
    image = render(volume, pose, CAMERA.K, size, backend='numba')
    assert image.shape == size
    assert relative_rms(image, large[: size[0], : size[1]]) < 1e-5 or float(image.abs().max()) == 0


def test_rendering_lets_other_threads_run():
    volume = noisy_phantom((64, 64, 64))
    pose = pose_in_front(volume, 700.0)
    render(volume, pose, CAMERA.K, CAMERA.size, backend='numba')  # compiled
    rendering = threading.Thread(
        target=render, args=(volume, pose.repeat(400, 1, 1), CAMERA.K, (64, 64))
    )
    start = last = time.perf_counter()
    longest_wait = 0.0
    rendering.start()
    while rendering.is_alive():
        now = time.perf_counter()
        longest_wait, last = max(longest_wait, now - last), now
    assert longest_wait < 0.5 * (last - start)


def test_a_second_process_finds_the_compiled_renderer(tmp_path):
    program = (
        'import torch\n'
        'from sph_reg_ros.rendering.cpu import kernel\n'
        'from sph_reg_ros.rendering.render import render\n'
        'from sph_reg_ros.imaging.attenuation import AttenuationVolume\n'
        'volume = AttenuationVolume(torch.ones(4, 4, 4), torch.eye(4).double())\n'
        'render(volume, torch.eye(4).double(), torch.eye(3).double(), (8, 8))\n'
        'stats = kernel.render_tiles.stats\n'
        'print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))\n'
    )
    environment = os.environ | {'NUMBA_CACHE_DIR': str(tmp_path)}
    runs = [
        subprocess.run(
            [sys.executable, '-c', program], env=environment, text=True, stdout=subprocess.PIPE,
            check=True,
        ).stdout.split()
        for _ in range(2)
    ]  # fmt: skip
    assert runs == [['0', '1'], ['1', '0']]


def test_more_voxels_than_can_be_numbered_are_refused(monkeypatch):
    # A volume of 2^31 voxels would not fit into the memory of every machine.
    monkeypatch.setattr(module, '_MAX_VOXELS', 12**3 - 1)
    volume = noisy_phantom((10, 10, 10))
    with pytest.raises(CTError, match='crop it'):
        packed(volume)


def test_a_scene_renders_the_same_with_one_thread_and_with_all():
    volume = noisy_phantom((40, 44, 48))
    pose = pose_in_front(volume, 700.0)
    threads = numba.get_num_threads()
    expected = render(volume, pose, CAMERA.K, (70, 50), backend='numba')
    try:
        numba.set_num_threads(1)
        alone = render(volume, pose, CAMERA.K, (70, 50), backend='numba')
    finally:
        numba.set_num_threads(threads)
    assert torch.equal(alone, expected)
