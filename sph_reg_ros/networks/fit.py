"""Whether weights are for this CT and this imager."""

import torch

from sph_reg_ros.geometry import Camera
from sph_reg_ros.networks.card import Card

MAX_SHIFT = 0.01
"""Of the image: how far a point at its edge may lie from where the network was trained to see it;
weights that were trained with one focal length do not suffer visibly from 1 % of another."""


def camera_of(card: Card) -> Camera:
    """Return the camera of the images that the network was trained on."""
    return Camera(torch.tensor(card.K, dtype=torch.float64), *card.image_size)


def misfit(card: Card, ct_hash: str, camera: Camera) -> str:
    """Return why weights do not serve a CT and a camera, or '' if they do.

    Args:
        card: of the weights.
        ct_hash: of the CT; counts only for a network that knows a single CT.
        camera: of the X-ray at its own resolution, which does not matter.
    """
    if (
        len(card.ct_hashes) == 1
        and card.kind != 'agnostic_regressor'
        and ct_hash not in card.ct_hashes
    ):
        return 'the weights were trained on another CT'
    trained = camera_of(card)
    seen = camera.rescale(*card.image_size)
    height, width = card.image_size
    corners = torch.tensor(
        [[u, v, 1.0] for u in (0.0, width - 1.0) for v in (0.0, height - 1.0)], dtype=torch.float64
    )
    # Where the rays of the trained camera's corners land in this one.
    landed = (seen.K @ torch.linalg.solve(trained.K, corners.T)).T
    shift = float((landed - corners).abs().max()) / max(height, width)
    if shift > MAX_SHIFT:
        return (
            f'the weights were trained with another camera: its view is {100 * shift:.1f} % of the '
            f'image away, {100 * MAX_SHIFT:g} % is the limit'
        )
    return ''
