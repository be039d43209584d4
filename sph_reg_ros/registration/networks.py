"""The two networks of a registration: one gives a start, one compares."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.geometry import Camera
from sph_reg_ros.networks import weights
from sph_reg_ros.networks.build import Network
from sph_reg_ros.networks.card import Card
from sph_reg_ros.networks.encoder import SphericalEncoder
from sph_reg_ros.networks.fit import (
    LEAST_COVERED,
    camera_of,
    covered_share,
    features_are_poses,
    fits_ct,
)
from sph_reg_ros.networks.normalise import normalise
from sph_reg_ros.networks.regressor import PoseRegressor
from sph_reg_ros.registration.view import View, seen_by

REGRESSOR, SIMILARITY = 'regressor', 'similarity'
FOR_ANY_CT = 'agnostic_regressor'
"""Kind of a regressor that `sph-reg train` makes from several CTs; no registration can use one."""


@dataclass(frozen=True, eq=False)
class Networks:
    """Pose regressor and encoder of one CT.

    Attributes:
        regressor: an X-ray to its pose.
        regressor_camera: of the X-rays that it takes.
        encoder: of the learned similarity.
        encoder_camera: of the images that it takes.
        name: of their folder, for messages.
        pose_slopes: the encoder's features are poses, so that its slopes need not be derived.
    """

    regressor: PoseRegressor
    regressor_camera: Camera
    encoder: SphericalEncoder
    encoder_camera: Camera
    name: str = ''
    pose_slopes: bool = False

    def misfit(self, camera: Camera) -> str:
        """Return why X-rays of a camera are not for these networks, or '' if they are."""
        share = min(
            covered_share(trained, camera)
            for trained in (self.regressor_camera, self.encoder_camera)
        )
        if share >= LEAST_COVERED:
            return ''
        return (
            f'the networks expect a larger field of view: the X-ray shows {share:.0%} of it, '
            f'{LEAST_COVERED:.0%} are needed'
        )

    def to(self, device: torch.device) -> 'Networks':
        """Move the weights to a device, in place."""
        for network in (self.regressor, self.encoder):
            network.to(device)
        return self

    def regress(self, view: View) -> Float64[Tensor, '4 4']:
        """Return camera_from_ct of an X-ray without any initial guess."""
        seen = seen_by(view, self.regressor_camera)
        assert seen.mask is not None
        image = normalise(seen.line_integrals[None], seen.mask[None])
        place = next(self.regressor.parameters())
        pose: Tensor = self.regressor(image.to(place))[0].cpu().double()
        return pose


def find_networks(ct_hash: str, folders: Sequence[Path]) -> Networks | None:
    """Return the first networks that know a CT, or None; those for any CT are passed over.

    Args:
        ct_hash: `CT.content_hash`.
        folders: each holds `regressor` and `similarity`, or folders that do. Both hold weights as
            they are shipped, or are what `sph-reg train` made.

    Raises:
        WeightsError: WEIGHTS_INVALID if weights for this CT, or the card of others, cannot be used.
    """
    for folder in _candidates(folders):
        cards = [weights.read_card(_place(folder, name)) for name in (REGRESSOR, SIMILARITY)]
        if cards[0].kind != FOR_ANY_CT and all(fits_ct(card, ct_hash) for card in cards):
            return load_networks(folder)
    return None


def load_networks(folder: Path) -> Networks:
    """Return the networks in a folder with `regressor` and `similarity`.

    Raises:
        WeightsError: WEIGHTS_MISSING, or WEIGHTS_INVALID if they are not what they should be.
    """
    regressor, regressor_card = _load(_place(folder, REGRESSOR), PoseRegressor)
    encoder, encoder_card = _load(_place(folder, SIMILARITY), SphericalEncoder)
    assert isinstance(regressor, PoseRegressor) and isinstance(encoder, SphericalEncoder)
    return Networks(
        regressor,
        camera_of(regressor_card),
        encoder,
        camera_of(encoder_card),
        folder.name,
        features_are_poses(encoder_card),
    )


def _candidates(folders: Sequence[Path]) -> Iterator[Path]:
    for folder in folders:
        for path in (folder, *(sorted(folder.iterdir()) if folder.is_dir() else ())):
            if all((path / name).is_dir() for name in (REGRESSOR, SIMILARITY)):
                yield path


def _place(folder: Path, name: str) -> Path:
    """Return where the weights of a network are; a training has them in a folder of its own."""
    trained = folder / name / 'weights'
    return trained if trained.is_dir() else folder / name


def _load(folder: Path, expected: type) -> tuple[Network, Card]:
    network, card = weights.load(folder)
    if not isinstance(network, expected):
        raise weights.invalid(folder, f'it is a {card.kind}, where another network is needed')
    return network, card
