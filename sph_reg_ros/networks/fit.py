"""Checks whether weights fit a CT and an imager."""

import torch

from sph_reg_ros.geometry import Camera
from sph_reg_ros.networks.card import Card

LEAST_COVERED = 0.9
"""Share of the image that the network expects which the X-ray has to show. The network has learned
to do without what a collimator hides, but each further pixel that is missing costs accuracy."""


def camera_of(card: Card) -> Camera:
    """Return the camera of the images that the network was trained on."""
    return Camera(torch.tensor(card.K, dtype=torch.float64), *card.image_size)


def fits_ct(card: Card, ct_hash: str) -> bool:
    """Return whether a network knows a CT (`CT.content_hash`), or any."""
    return card.kind == 'agnostic_regressor' or ct_hash in card.ct_hashes


def features_are_poses(card: Card) -> bool:
    """Return whether a similarity has learned that each of its pairs be `so4.pose_embedding`."""
    if card.network.get('head') != 'so4':
        return False
    try:
        return float(card.training['similarity']['loss']['pose']) > 0
    except (KeyError, TypeError, ValueError):
        return False  # a card of another program, which does not say


def covered_share(wanted: Camera, seen: Camera) -> float:
    """Return the share of a camera's pixels that another camera in the same place sees, too."""
    u, v = torch.cartesian_prod(
        torch.arange(wanted.width, dtype=torch.float64),
        torch.arange(wanted.height, dtype=torch.float64),
    ).T
    rays = torch.linalg.inv(wanted.K) @ torch.stack([u, v, torch.ones_like(u)])
    u, v = (seen.K @ rays)[:2]
    inside = (u > -0.5) & (u < seen.width - 0.5) & (v > -0.5) & (v < seen.height - 0.5)
    return float(inside.double().mean())
