"""Small views of small CTs in which every kind of geometry occurs that a renderer must survive."""

from dataclasses import dataclass, replace
from importlib.util import find_spec

import pytest
import torch
from phantoms import AFFINE, pose_in_front, smooth_phantom

from sph_reg_ros.geometry import Camera, se3
from sph_reg_ros.imaging.attenuation import AttenuationVolume

HAS_CUDA = torch.cuda.is_available()
needs_triton = pytest.mark.skipif(find_spec('triton') is None, reason='triton is not installed')
# Without a GPU Triton's interpreter runs the kernel (test/conftest.py); with one, the GPU does.
BACKENDS = (
    'numba',
    pytest.param(
        'triton',
        marks=[needs_triton, pytest.mark.skipif(HAS_CUDA, reason='runs on the GPU instead')],
        id='triton-interpreted',
    ),
    pytest.param('triton', marks=[needs_triton, pytest.mark.gpu], id='triton-cuda'),
)
"""The backends that must agree with `torch`."""

CAMERA = Camera.from_geometry(1000.0, (10.0, 14.0), (13, 9), principal_point=(3.0, 7.0))
LINE_SCAN = replace(CAMERA, scan_depth_mm=700.0)
SIZE = (12, 20, 18)
ISOTROPIC = torch.diag(torch.tensor([4.0, 4.0, 4.0, 1.0], dtype=torch.float64))
MIRRORED = AFFINE @ torch.diag(torch.tensor([2.0, 2.0, 2.0, 1.0], dtype=torch.float64))


@dataclass(frozen=True)
class Scene:
    volume: AttenuationVolume
    camera: Camera
    camera_from_ct: torch.Tensor


def oblique(affine: torch.Tensor) -> torch.Tensor:
    turn = se3.exp(torch.tensor([0.4, -0.7, 0.9, 30.0, -200.0, 90.0], dtype=torch.float64))
    return turn @ affine


def scene(
    affine: torch.Tensor = MIRRORED, camera: Camera = CAMERA, distance_mm: float = 700.0
) -> Scene:
    volume = smooth_phantom(SIZE, affine)
    return Scene(volume, camera, pose_in_front(volume, distance_mm))


def thin(axis: int) -> Scene:
    # No ray within the only plane of voxels: its slopes would be a matter of rounding.
    camera = Camera.from_geometry(1000.0, (10.0, 14.0), (13, 9), principal_point=(3.2, 7.3))
    whole = smooth_phantom(SIZE, MIRRORED)
    mu = whole.mu.narrow(axis, SIZE[axis] // 2, 1).contiguous()
    volume = AttenuationVolume(mu, MIRRORED)
    return Scene(volume, camera, pose_in_front(volume))


SCENES = {
    'isotropic': scene(ISOTROPIC),
    'anisotropic with a mirrored axis': scene(),
    'oblique directions': scene(oblique(ISOTROPIC)),
    'oblique directions, anisotropic and mirrored': scene(oblique(MIRRORED)),
    'principal point off the image': scene(camera=CAMERA.crop(-1, 3, 11, 8)),
    'mirrored image': scene(camera=CAMERA.flip(horizontal=True)),
    'turned image': scene(camera=CAMERA.rotate90(1)),
    'turned and mirrored image': scene(camera=CAMERA.rotate90(3).flip(vertical=True)),
    'line scan': scene(oblique(MIRRORED), LINE_SCAN),
    'line scan, turned and cropped': scene(camera=LINE_SCAN.rotate90(1).crop(3, -1, 8, 11)),
    'some rays miss': scene(camera=CAMERA.crop(-10, -9, 31, 25)),
    'source inside the volume': scene(distance_mm=25.0),
    'one slice': thin(0),
    'one row': thin(1),
    'one column': thin(2),
    'one pixel': scene(camera=CAMERA.crop(6, 4, 1, 1)),
    'one row of pixels': scene(camera=CAMERA.crop(6, 0, 1, 17)),
}


def relative_rms(a: torch.Tensor, b: torch.Tensor) -> float:
    a, b = a.double().cpu(), b.double().cpu()
    return float((a - b).norm() / b.norm())


def on_device_of(backend: str, volume: AttenuationVolume) -> AttenuationVolume:
    return volume.to('cuda') if backend == 'triton' and HAS_CUDA else volume
