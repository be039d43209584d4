"""The networks in models/, on X-rays of their CT that another renderer made."""

from functools import cache

import pytest
import torch

from sph_reg_ros.evaluation.carm import CArm, CArmGeometry, EncoderError, Orbit
from sph_reg_ros.evaluation.simulation import XRaySimulation
from sph_reg_ros.geometry.box import mean_distance_mm
from sph_reg_ros.imaging.attenuation import attenuation_from_hounsfield
from sph_reg_ros.imaging.ct.volume import CT
from sph_reg_ros.imaging.load import load_ct
from sph_reg_ros.imaging.sample_ct import sample_ct_path
from sph_reg_ros.imaging.xray.intensity import IntensityModel
from sph_reg_ros.imaging.xray.prepare import prepare_xray
from sph_reg_ros.networks.shipped import weights_folders
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.networks import Networks, find_networks
from sph_reg_ros.registration.register import register
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.result import Verdict
from sph_reg_ros.registration.view import View

GEOMETRY = CArmGeometry(height=128, width=128, pixel_pitch_mm=2.8)
ORBIT = Orbit(-35.0, 95.0, 12.0, 3)


@cache
def chest() -> tuple[CT, Networks]:
    ct = load_ct(sample_ct_path())
    networks = find_networks(ct.content_hash, weights_folders())
    assert networks is not None, 'models/ has no networks for the sample CT'
    return ct, networks


def exposed(index: int) -> tuple[View, torch.Tensor]:
    """Return an X-ray and its true camera_from_ct."""
    carm = CArm.around(chest()[0], GEOMETRY, ORBIT, EncoderError(0.0, 0.0), XRaySimulation(), 0)
    exposure = carm.expose(index)
    pixels = torch.from_numpy(exposure.counts.astype('float32'))
    integrals, mask = prepare_xray(pixels, IntensityModel())
    return View(integrals, GEOMETRY.camera, mask), exposure.camera_from_ct


@pytest.mark.parametrize('index', range(ORBIT.steps))
def test_one_x_ray_and_no_initial_guess_are_enough_from_frontal_to_lateral(index):
    ct, networks = chest()
    volume = attenuation_from_hounsfield(ct)
    view, truth = exposed(index)
    request = RegistrationRequest(volume, (view,), None, RegistrationConfig(), networks=networks)
    result = register(request)
    error_mm = mean_distance_mm(result.camera_from_ct[0], truth, volume.corners)
    assert result.method == 'spherical' and result.verdict is Verdict.VERIFIED
    assert error_mm < 1.0
