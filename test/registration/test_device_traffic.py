"""What a registration on a GPU would have to wait for, counted without one."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from phantoms import pose_in_front, smooth_phantom
from pretend_device import IS_SUPPORTED, NAME, OnDevice, Traffic, on_host, pretend_device
from registration_scenes import CAMERA, CONFIG, errors, moved, xray

from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.registration.register import register
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.result import RegistrationResult
from sph_reg_ros.registration.view import View
from sph_reg_ros.rendering import render as rendering
from sph_reg_ros.rendering.cpu import backend as cpu

pytestmark = pytest.mark.skipif(not IS_SUPPORTED, reason='this torch knows no pretended devices')

VOLUME = smooth_phantom()
TRUTH = pose_in_front(VOLUME)
XRAY = xray(VOLUME, TRUTH)
MOST_WAITS, MOST_TO_DEVICE = 66, 200


def request(volume: AttenuationVolume) -> RegistrationRequest:
    mask = torch.ones(CAMERA.size, dtype=torch.bool)
    mask[:5] = False
    config = replace(CONFIG, similarity='mapped_ncc+gradient', method='image')
    view = View(XRAY, CAMERA, mask)
    return RegistrationRequest(volume, (view,), moved(VOLUME, TRUTH, 3), config)


def as_on_a_gpu(function: Callable) -> Callable:
    """Return the CPU's renderer as the CUDA one behaves: it takes poses to the device, no more."""

    def run(volume: AttenuationVolume, camera_from_ct: torch.Tensor, *view):
        there = camera_from_ct.to(NAME)
        found = function(on_cpu(volume), on_host(there), *view)
        return OnDevice(found) if isinstance(found, torch.Tensor) else tuple(map(OnDevice, found))

    known: list[tuple[AttenuationVolume, AttenuationVolume]] = []

    def on_cpu(volume: AttenuationVolume) -> AttenuationVolume:
        for one, other in known:
            if one is volume:
                return other
        known.append((volume, AttenuationVolume(on_host(volume.mu), volume.ct_from_index)))
        return known[-1][1]

    return run


@pytest.fixture(scope='module')
def on_device():
    """Return what a registration on the device finds, and its traffic, CT there already."""
    names = ('render', 'render_with_jacobian')
    module = SimpleNamespace(**{name: as_on_a_gpu(getattr(cpu, name)) for name in names})
    with pytest.MonkeyPatch.context() as patch, pretend_device() as traffic:
        patch.setattr(rendering, 'resolve_backend', lambda *_: 'triton')
        patch.setattr(rendering, '_module', lambda name: module)
        asked = request(VOLUME.to(NAME))
        register(asked)  # makes the coarser CTs
        for counter in (traffic.reads, traffic.to_host, traffic.to_device):
            counter.clear()
        return register(asked), traffic


def test_the_result_is_that_of_the_cpu(on_device):
    found, _ = on_device
    expected = register(request(VOLUME))
    assert found.device == f'{NAME}:0' and expected.device == 'cpu'
    assert found.verdict == expected.verdict
    assert found.similarity_after == pytest.approx(expected.similarity_after, abs=1e-5)
    # The phantom hardly tells depth, so that rounding does.
    in_plane_mm, depth_mm, degrees = errors(
        VOLUME, found.camera_from_ct[0], expected.camera_from_ct[0]
    )
    assert in_plane_mm < 0.02 and depth_mm < 0.5 and degrees < 0.05


def test_python_waits_for_the_device_no_more_often_than_before(
    on_device: tuple[RegistrationResult, Traffic],
):
    _, traffic = on_device
    assert 0 < traffic.reads.total() + traffic.to_host.total() <= MOST_WAITS, traffic


def test_little_goes_to_the_device(on_device: tuple[RegistrationResult, Traffic]):
    _, traffic = on_device
    assert traffic.to_device.total() <= MOST_TO_DEVICE, traffic
