"""Networks for unknown CTs as the networks of one."""

from pathlib import Path

from _ablations import weights_in
from torch import Tensor, nn

from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.imaging.cube import cube_of
from sph_reg_ros.networks import weights
from sph_reg_ros.networks.agnostic import AgnosticRegressor, camera_from_ct
from sph_reg_ros.networks.encoder import SphericalEncoder
from sph_reg_ros.networks.fit import camera_of, features_are_poses
from sph_reg_ros.registration.networks import REGRESSOR, SIMILARITY, Networks


class BoundRegressor(nn.Module):
    """A regressor for any CT that looks at a certain one: images to poses, like that of one CT."""

    def __init__(self, network: AgnosticRegressor, volume: AttenuationVolume, voxels: int) -> None:
        """Take the network, the CT, and the edge of the cube in which it is shown."""
        super().__init__()
        self.network, self._centre_mm = network, volume.centre
        self._cube = cube_of(volume, voxels)

    def forward(self, images: Tensor) -> Tensor:
        """Return camera_from_ct [B, 4, 4] of images [B, 1, H, W]."""
        cubes = self._cube.to(images).expand(len(images), 1, -1, -1, -1)
        found = self.network(images, cubes)
        return camera_from_ct(found, self._centre_mm.to(found))


def agnostic_networks(folder: Path, volume: AttenuationVolume, voxels: int) -> Networks:
    """Return the networks in a folder with both trainings, for one CT.

    Raises:
        WeightsError: they are not there, or others are.
    """
    network, card = weights.load(weights_in(folder / REGRESSOR))
    encoder, encoder_card = weights.load(weights_in(folder / SIMILARITY))
    if not isinstance(network, AgnosticRegressor) or not isinstance(encoder, SphericalEncoder):
        raise weights.invalid(folder, f'{card.kind} and {encoder_card.kind} are not what is needed')
    bound = BoundRegressor(network, volume, voxels)
    return Networks(
        bound,
        camera_of(card),
        encoder,
        camera_of(encoder_card),
        f'{folder.name} (agnostic)',
        features_are_poses(encoder_card),
    )
