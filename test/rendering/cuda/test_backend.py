"""What is particular to the CUDA renderer: its storage, its limits, and that it compiles."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from render_scenes import HAS_CUDA, SCENES, on_device_of, relative_rms, scene

from sph_reg_ros.errors import ConfigError, CTError, ErrorCode
from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.rendering.render import render, render_with_jacobian, resolve_backend

pytest.importorskip('triton')
triton_backend = pytest.importorskip('sph_reg_ros.rendering.cuda.backend')
triton_volume = pytest.importorskip('sph_reg_ros.rendering.cuda.volume')

COMPILE = """
import sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from sph_reg_ros.rendering.cuda import kernel as module

kernel, jacobian, values = module.render, sys.argv[1] == 'True', sys.argv[2]
constants = {'JACOBIAN': jacobian, 'TILE_H': module.TILE_ROWS,
             'TILE_W': module.TILE_COLUMNS}
types = {name: 'i32' for name in kernel.arg_names} | {name: 'constexpr' for name in constants}
types |= {'values': values, 'scene': '*fp64', 'image': '*fp32', 'jacobian': '*fp32'}
source = ASTSource(kernel, types | {'scale': 'fp32'}, constants)
compiled = triton.compile(source, target=GPUTarget('cuda', 80, 32))
print(len(compiled.asm['cubin']))
"""


@pytest.mark.parametrize('values, jacobian', [('*fp16', True), ('*fp32', True), ('*fp32', False)])
def test_the_kernel_compiles_for_a_gpu_that_need_not_be_there(tmp_path, values, jacobian):
    environment = {**os.environ, 'TRITON_INTERPRET': '0', 'TRITON_CACHE_DIR': str(tmp_path)}
    command = [sys.executable, '-c', COMPILE, str(jacobian), values]
    outcome = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert outcome.returncode == 0, outcome.stderr
    assert int(outcome.stdout) > 0


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


def test_small_images_are_cut_into_parts_only_for_a_gpu():
    assert triton_backend._parts(4, torch.device('cpu')) == 1


@pytest.mark.gpu
def test_a_gpu_gets_more_parts_the_smaller_the_image():
    few, many = (triton_backend._parts(n, torch.device('cuda')) for n in (10**6, 4))
    assert few == 1 and many > 1


def test_half_precision_costs_the_image_little():
    view = scene()
    volume = AttenuationVolume(view.volume.mu * 0.01, view.volume.ct_from_index)
    volume = on_device_of('triton', volume)
    exact, exact_jacobian = render_with_jacobian(
        volume, view.camera_from_ct, view.camera.K, view.camera.size, backend='triton'
    )
    triton_volume.store_as(volume, torch.float16)
    assert triton_volume.stored(volume).values.dtype == torch.float16
    image, jacobian = render_with_jacobian(
        volume, view.camera_from_ct, view.camera.K, view.camera.size, backend='triton'
    )
    assert 0 < relative_rms(image, exact) < 1e-4
    assert relative_rms(jacobian, exact_jacobian) < 1e-3


@pytest.mark.parametrize('largest', [1e-6, 0.06, 1.0, 3e4])
def test_half_precision_holds_small_and_large_attenuation(largest):
    mu = torch.linspace(0, largest, 27).reshape(3, 3, 3)
    volume = AttenuationVolume(mu, torch.eye(4).double())
    triton_volume.store_as(volume, torch.float16)
    held = triton_volume.stored(volume)
    back = held.values.float() * held.scale
    assert torch.allclose(back[1:-1, 1:-1, 1:-1], mu, rtol=1e-3, atol=0)


def test_an_empty_volume_renders_as_air_in_half_precision():
    volume = AttenuationVolume(torch.zeros(4, 4, 4), SCENES['isotropic'].volume.ct_from_index)
    volume = on_device_of('triton', volume)
    triton_volume.store_as(volume, torch.float16)
    view = SCENES['isotropic']
    image = render(volume, view.camera_from_ct, view.camera.K, (3, 3), backend='triton')
    assert not image.any()


def test_other_precisions_are_refused():
    with pytest.raises(ConfigError, match='bfloat16'):
        triton_volume.store_as(scene().volume, torch.bfloat16)


def test_a_volume_with_more_voxels_than_32_bits_number_is_refused():
    with pytest.raises(CTError, match='crop or downsample') as error:
        triton_volume.store_as(SimpleNamespace(shape=(1290, 1290, 1290)), torch.float32)
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
    on_cuda = SimpleNamespace(mu=SimpleNamespace(device=torch.device('cuda')))
    assert resolve_backend('auto', on_cuda) == expected


@pytest.mark.skipif(HAS_CUDA, reason='shows what a machine without a GPU says')
def test_auto_on_the_cpu_never_picks_the_interpreter():
    assert resolve_backend('auto', scene().volume) == 'numba'
