"""What is particular to the CUDA renderer: its storage, its limits, and that it compiles."""

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from render_scenes import HAS_CUDA, SCENES, on_device_of, relative_rms, scene

from sph_reg_ros.errors import ConfigError, CTError, ErrorCode
from sph_reg_ros.geometry import se3
from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.rendering.render import render_with_jacobian, resolve_backend
from sph_reg_ros.rendering.sampling import unit_directions

pytest.importorskip('triton')
triton_backend = pytest.importorskip('sph_reg_ros.rendering.cuda.backend')
triton_volume = pytest.importorskip('sph_reg_ros.rendering.cuda.volume')

KERNELS = Path(__file__).parents[3] / 'bench' / '_kernels.py'
MOST_REGISTERS = 64
"""A thread: with more, fewer than 1024 fit on a multiprocessor at a time."""


def test_the_kernels_compile_without_spilling_for_gpus_that_need_not_be_there(tmp_path):
    environment = {**os.environ, 'TRITON_INTERPRET': '0', 'TRITON_CACHE_DIR': str(tmp_path)}
    command = [sys.executable, str(KERNELS)]
    outcome = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert outcome.returncode == 0, outcome.stderr
    lines = outcome.stdout.splitlines()
    for architecture in (80, 90):
        for kernel in ('poses', 'image', 'image + Jacobian'):
            (line,) = (text for text in lines if text.startswith(f'sm_{architecture} {kernel}:'))
            registers, spilled = map(int, re.findall(r'(\d+) (?:registers|bytes)', line))
            assert 0 < registers <= MOST_REGISTERS and spilled == 0, line


def test_rays_in_parts_add_up_to_whole_rays(monkeypatch):
    view = scene()
    volume = on_device_of('triton', view.volume)
    results = []
    for parts in (1, 3):
        monkeypatch.setattr(triton_backend, '_parts', lambda *_, parts=parts: parts)
        results.append(
            render_with_jacobian(
                volume, view.camera_from_ct, view.camera.K, view.camera.size, backend='triton'
            )
        )
    for whole, sum_of_parts in zip(*results, strict=True):
        assert not torch.equal(whole, sum_of_parts)
        assert relative_rms(sum_of_parts, whole) < 1e-6


def test_every_tile_that_is_tried_gives_the_same_image(monkeypatch):
    view, found = scene(), []
    volume = on_device_of('triton', view.volume)
    args = (volume, view.camera_from_ct[None], view.camera.K, view.camera.size, None, True)
    for rows, columns, _ in triton_backend._TILES:
        tile = {'TILE_H': rows, 'TILE_W': columns}
        monkeypatch.setattr(
            triton_backend,
            '_kernel',
            lambda device, tile=tile: (triton_backend.kernels.render, tile),
        )
        found.append(triton_backend.render_with_jacobian(*args))
    for image, jacobian in found[1:]:
        assert torch.equal(image, found[0][0]) and torch.equal(jacobian, found[0][1])


@pytest.mark.skipif(HAS_CUDA, reason='a GPU tunes by itself')
def test_the_kernel_runs_through_the_tuner(monkeypatch):
    tried = []

    def run_once(run, quantiles):
        run()
        tried.append(len(tried))
        return [1.0 + tried[-1]] * len(quantiles)

    view = scene()
    args = (view.volume, view.camera_from_ct[None], view.camera.K, view.camera.size, None)
    expected = triton_backend.render(*args)
    monkeypatch.setattr(triton_backend, '_milliseconds', run_once)
    tuned = triton_backend._tuned.__wrapped__()
    monkeypatch.setattr(triton_backend, '_kernel', lambda device: (tuned, {}))
    assert torch.equal(triton_backend.render(*args), expected)
    assert len(tried) == len(triton_backend._TILES)
    triton_backend.render(*args)
    assert len(tried) == len(triton_backend._TILES)


def test_small_images_are_cut_into_parts_only_for_a_gpu():
    assert triton_backend._parts(4, torch.device('cpu')) == 1


@pytest.mark.gpu
def test_a_gpu_gets_more_parts_the_smaller_the_image():
    few, many = (triton_backend._parts(n, torch.device('cuda')) for n in (10**6, 4))
    assert few == 1 and many > 1


@pytest.mark.parametrize('lowest, largest', [(0, 1e-6), (0, 0.06), (0, 3e4), (-0.01, 0.03)])
def test_pairs_of_numbers_hold_small_large_and_negative_attenuation(lowest, largest):
    mu = torch.linspace(lowest, largest, 27).reshape(3, 3, 3)
    pairs, unit, zero = triton_volume._numbers(mu)
    own, next_one = (((half & 0xFFFF) - zero) * unit for half in (pairs, pairs >> 16))
    expected = torch.nn.functional.pad(mu, (1,) * 6)
    rounding = 0.51 * (largest - lowest) / 65535
    assert torch.allclose(own, expected, rtol=1e-6, atol=rounding)
    assert torch.equal(next_one[..., :-1], own[..., 1:])
    # Air is exactly 0, so that interpolation fades to it.
    assert not own[expected == 0].any() and not next_one[..., -1].any()


def test_pairs_of_floats_hold_every_bit():
    mu = torch.linspace(-0.01, 0.03, 27).reshape(3, 3, 3)
    pairs, _, _ = triton_volume._floats(mu)
    own, next_one = (half.int().view(torch.float32) for half in (pairs, pairs >> 32))
    assert torch.equal(own, torch.nn.functional.pad(mu, (1,) * 6))
    assert torch.equal(next_one[..., :-1], own[..., 1:]) and not next_one[..., -1].any()


def test_sixteen_bits_a_voxel_cost_image_and_jacobian_little(monkeypatch):
    view, results = scene(), []
    for small in (triton_volume._SMALL, 0):
        monkeypatch.setattr(triton_volume, '_SMALL', small)
        volume = AttenuationVolume(view.volume.mu, view.volume.ct_from_index)
        volume = on_device_of('triton', volume)
        args = (volume, view.camera_from_ct, view.camera.K, view.camera.size)
        results.append(render_with_jacobian(*args, backend='triton'))
    assert 0 < relative_rms(results[1][0], results[0][0]) < 3e-5
    for column in range(6):
        exact, rounded = (jacobian[..., column] for _, jacobian in results)
        assert relative_rms(rounded, exact) < 1e-3


def test_rays_are_cut_to_what_is_not_air():
    mu = torch.zeros(9, 8, 7)
    mu[2:5, 3, 4:6] = 0.02
    levels = triton_volume.paired(AttenuationVolume(mu, torch.eye(4).double())).levels
    assert torch.allclose(levels[2:], torch.tensor([4.0, 3, 2, 7, 5, 6]), atol=0.01)


def test_an_empty_volume_renders_as_air():
    view = SCENES['isotropic']
    volume = AttenuationVolume(torch.zeros(4, 4, 4), view.volume.ct_from_index)
    volume = on_device_of('triton', volume)
    image, jacobian = render_with_jacobian(
        volume, view.camera_from_ct, view.camera.K, (3, 3), backend='triton'
    )
    assert not image.any() and not jacobian.any()


def test_motion_along_the_rays_is_projected_out_in_the_kernel():
    view = scene()
    K, size = view.camera.K, view.camera.size
    volume, poses = on_device_of('triton', view.volume), view.camera_from_ct[None]
    sampled, found = (
        triton_backend.render_with_jacobian(volume, poses, K, size, None, without)[1][0].cpu()
        for without in (False, True)
    )
    rays = unit_directions(K, size)
    along = (sampled[..., 3:] * rays).sum(-1, keepdim=True)
    centre = se3.transform_points(view.camera_from_ct, view.volume.centre[None])[0]
    lever = torch.linalg.cross(centre.expand_as(rays), rays)
    expected = torch.cat([sampled[..., :3] + along * lever, sampled[..., 3:] - along * rays], -1)
    for column in range(6):
        assert relative_rms(found[..., column], expected[..., column]) < 1e-5
    assert relative_rms(found, sampled) > 1e-5


def test_what_a_view_needs_is_kept_and_no_more_than_some_views():
    view = scene()
    volume = AttenuationVolume(view.volume.mu, view.volume.ct_from_index)
    first = triton_backend._view(volume, view.camera.K, None)
    assert triton_backend._view(volume, view.camera.K.clone(), None) is first
    for shift in range(2 * triton_backend._MAX_VIEWS):
        triton_backend._view(volume, view.camera.K + shift, None)
    assert len(triton_backend._VIEWS[volume]) <= triton_backend._MAX_VIEWS


def test_a_volume_with_more_voxels_than_32_bits_number_is_refused():
    with pytest.raises(CTError, match='crop or downsample') as error:
        triton_volume._pair(SimpleNamespace(shape=(1290, 1290, 1290)))
    assert error.value.code == ErrorCode.CT_GEOMETRY


def test_a_volume_on_the_cpu_needs_the_interpreter(monkeypatch):
    monkeypatch.setenv('TRITON_INTERPRET', '1')
    assert resolve_backend('triton', scene().volume) == 'triton'
    monkeypatch.delenv('TRITON_INTERPRET')
    with pytest.raises(ConfigError, match='CUDA device') as error:
        resolve_backend('triton', scene().volume)
    assert error.value.code == ErrorCode.BACKEND_UNAVAILABLE


@pytest.mark.parametrize('installed, expected', [(True, 'triton'), (False, 'torch')])
def test_auto_on_a_cuda_volume_is_triton_where_it_is_installed(monkeypatch, installed, expected):
    from sph_reg_ros.rendering import render as module

    monkeypatch.setattr(module, 'find_spec', lambda name: object() if installed else None)
    on_cuda = SimpleNamespace(device=torch.device('cuda'))
    assert resolve_backend('auto', on_cuda) == expected


@pytest.mark.skipif(HAS_CUDA, reason='shows what a machine without a GPU says')
def test_auto_on_the_cpu_never_picks_the_interpreter():
    assert resolve_backend('auto', scene().volume) == 'numba'
