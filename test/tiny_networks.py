"""Networks of a CT that were never trained: the regressor knows one view, the encoder nothing."""

from dataclasses import replace
from pathlib import Path

import torch
from cards import CARD
from network_sizes import TINY_ENCODER, TINY_REGRESSOR

from sph_reg_ros.geometry import Camera
from sph_reg_ros.imaging.attenuation import attenuation_from_hounsfield
from sph_reg_ros.imaging.ct.volume import CT
from sph_reg_ros.networks import weights
from sph_reg_ros.networks.encoder import SphericalEncoder
from sph_reg_ros.networks.regressor import PoseRegressor

SIZE = (32, 32)


def write_networks(folder: Path, ct: CT, camera: Camera, nominal: torch.Tensor) -> Path:
    """Write both networks for X-rays of a camera; every X-ray is said to be the nominal view."""
    torch.manual_seed(0)
    K = camera.rescale(*SIZE).K.tolist()
    card = replace(
        CARD, ct_hashes=(ct.content_hash,), K=tuple(map(tuple, K)), image_size=SIZE, accuracy={}
    )
    centre = attenuation_from_hounsfield(ct).centre
    regressor = PoseRegressor(TINY_REGRESSOR, nominal, centre)
    weights.save(regressor, folder / 'regressor', card)
    encoder = SphericalEncoder(replace(TINY_ENCODER, image_size=SIZE))
    weights.save(encoder, folder / 'similarity', card)
    return folder


def damage(folder: Path) -> None:
    """Cut the weights of the similarity off."""
    path = folder / 'similarity' / weights.TENSORS_NAME
    path.write_bytes(path.read_bytes()[:-8])
