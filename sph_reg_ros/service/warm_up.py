"""Compiles and warms up before the first X-ray."""

import contextlib

import torch

from sph_reg_ros.errors import ImageError, SolverError
from sph_reg_ros.geometry import Camera
from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.networks import Networks
from sph_reg_ros.registration.register import register
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.view import View
from sph_reg_ros.rendering.render import render

DISTANCE_MM = 700.0


def warm_up(
    volume: AttenuationVolume, networks: Networks | None, backend: str, device: str = 'auto'
) -> None:
    """Compile, make the coarser CTs, and run the networks once, if there are any.

    Args:
        volume: the CT.
        networks: of this CT.
        backend: renderer, as in RegistrationConfig.
        device: as in RegistrationConfig.

    Raises:
        ConfigError: the renderer cannot run here.
    """
    # About what a C-arm sees: the coarser CTs that such images ask for are made here, too.
    camera = Camera.from_geometry(1020.0, (1.2, 1.2), (256, 256))
    # Also with networks: X-rays that they do not fit are registered without.
    config = RegistrationConfig(method='image', backend=backend, device=device, starts=1)
    _run(volume, camera, config, None)
    if networks is not None:
        config = RegistrationConfig(backend=backend, device=device, levels=(32,), max_iterations=2)
        _run(volume, _widest(networks), config, networks)


def _run(
    volume: AttenuationVolume,
    camera: Camera,
    config: RegistrationConfig,
    networks: Networks | None,
) -> None:
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, 3] = torch.tensor([0.0, 0.0, DISTANCE_MM]) - volume.centre
    image = render(volume, pose, camera.K, camera.size, backend=config.backend)
    # A CT that shows nothing here is no reason to fail: it only leaves something to do later.
    with contextlib.suppress(ImageError, SolverError):
        view = View(image.cpu(), camera)
        request = RegistrationRequest(volume, (view,), pose, config, networks=networks)
        register(request, verified=networks is None)


def _widest(networks: Networks) -> Camera:
    """Return the camera that shows each of the networks all that it wants to see."""
    cameras = networks.regressor_camera, networks.encoder_camera
    return max(cameras, key=lambda camera: camera.width / camera.focal_length)
