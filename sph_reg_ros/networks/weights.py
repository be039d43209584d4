"""Weights of networks: a folder with safetensors and a JSON card.

safetensors holds numbers only: nothing in such a file can run when it is read.
"""

import hashlib
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor

from sph_reg_ros.errors import ConfigError, ErrorCode, PoseError, WeightsError
from sph_reg_ros.files import write_together
from sph_reg_ros.geometry import se3
from sph_reg_ros.networks.build import Network, build, kind_of, settings_of
from sph_reg_ros.networks.card import Card, parse_object

TENSORS_NAME, CARD_NAME = 'model.safetensors', 'card.json'
MAX_HEADER_BYTES = 100_000_000
"""Limit of the safetensors format for its JSON header."""
MAX_FILE_BYTES = 2_000_000_000
_READABLE = 0o644


def save(network: Network, folder: Path, card: Card) -> Card:
    """Write weights and card, both or neither, and return the card as it was written.

    Args:
        network: whose weights to write, buffers included.
        folder: made if it is not there; files of these names in it are replaced.
        card: what the weights are for; its kind, network and sha256 are filled in here.

    Raises:
        WeightsError: WEIGHTS_INVALID if weights are not finite, or the card is not fit for JSON.
        OSError: the files cannot be written.
    """
    tensors = {name: value.cpu().contiguous() for name, value in network.state_dict().items()}
    _require_finite(tensors)
    data = to_bytes(tensors)
    digest = hashlib.sha256(data).hexdigest()
    kind, settings = kind_of(network), settings_of(network)
    card = replace(card, kind=kind, network=settings, sha256=digest)
    written = card.to_json()
    folder.mkdir(parents=True, exist_ok=True)
    write_together({folder / TENSORS_NAME: data, folder / CARD_NAME: written}, _READABLE)
    return Card.from_json(written)


def load(folder: Path) -> tuple[Network, Card]:
    """Return the network of a folder, ready for use: weights frozen, in evaluation mode, and card.

    Raises:
        WeightsError: WEIGHTS_MISSING, or WEIGHTS_INVALID if anything in the folder is not what its
            card says.
    """
    path, card, data = _checked(folder)
    try:
        tensors = from_bytes(data)
    except (SafetensorError, ValueError, KeyError, AttributeError) as error:
        raise invalid(path, f'it is no safetensors file: {error}') from None
    _require_finite(tensors)
    return _filled(path, card, tensors), card


def read_card(folder: Path) -> Card:
    """Return the card in a folder, without a look at the weights.

    Raises:
        WeightsError: WEIGHTS_MISSING if there is none, WEIGHTS_INVALID if it is not what it should
            be.
    """
    path = folder / CARD_NAME
    if not path.is_file():
        raise WeightsError(ErrorCode.WEIGHTS_MISSING, f'no such file: {path}')
    return Card.from_json(path.read_bytes())


def _checked(path: Path) -> tuple[Path, Card, bytes]:
    path = Path(path)
    path = path / TENSORS_NAME if path.is_dir() else path
    if path.suffix != '.safetensors':
        raise WeightsError(
            ErrorCode.WEIGHTS_INVALID,
            f'weights must be a folder with {TENSORS_NAME}, not {path.name}',
        )
    if not path.is_file():
        raise WeightsError(ErrorCode.WEIGHTS_MISSING, f'no such file: {path}')
    card = read_card(path.parent)
    if path.stat().st_size > MAX_FILE_BYTES:
        raise invalid(path, f'it has more than {MAX_FILE_BYTES} bytes')
    data = path.read_bytes()
    _require_header(path, data)
    if hashlib.sha256(data).hexdigest() != card.sha256:
        raise invalid(path, 'its SHA-256 is not the one on the card')
    return path, card, data


def _require_header(path: Path, data: bytes) -> None:
    size = int.from_bytes(data[:8], 'little')
    if size > MAX_HEADER_BYTES:
        raise invalid(path, f'its header claims {size} bytes')
    if size == 0 or len(data) < 8 + size:
        raise invalid(path, 'it is cut off')
    parse_object(data[8 : 8 + size], path.name)


def _filled(path: Path, card: Card, tensors: dict[str, Tensor]) -> Network:
    """Build the network without memory first, so that a card cannot make it take any."""
    try:
        with torch.device('meta'):
            network = build(card.kind, card.network)
    except ConfigError as error:
        raise invalid(path, f'its card describes no network: {error}') from None
    expected = {name: _form(value) for name, value in network.state_dict().items()}
    found = {name: _form(value) for name, value in tensors.items()}
    if expected != found:
        wrong = sorted(name for name, _ in expected.items() ^ found.items())
        raise invalid(path, f'it does not fit the network: {", ".join(wrong[:3])}')
    if tuple(network.config.image_size) != card.image_size:
        raise invalid(path, 'its card names two image sizes')
    if 'head.nominal' in tensors:
        _require_pose(path, tensors['head.nominal'])
    network.load_state_dict(tensors, assign=True)
    return network.eval().requires_grad_(False)


def _require_pose(path: Path, nominal: Tensor) -> None:
    try:
        se3.require_rigid(nominal, 'its nominal view')
    except PoseError as error:
        raise invalid(path, str(error)) from None


def _form(tensor: Tensor) -> tuple[tuple[int, ...], str]:
    return tuple(tensor.shape), str(tensor.dtype)


def _require_finite(tensors: dict[str, Tensor]) -> None:
    for name, value in tensors.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise WeightsError(ErrorCode.WEIGHTS_INVALID, f'{name} has weights that are no numbers')


def invalid(path: Path, reason: str) -> WeightsError:
    """Return the error for a weights file that is not what it should be."""
    return WeightsError(
        ErrorCode.WEIGHTS_INVALID, f'{path.name} cannot be used: {reason}; get the file again'
    )
