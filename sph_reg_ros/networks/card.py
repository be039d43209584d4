"""Model cards: kind, purpose, training data and accuracy of weights.

Needs no torch, so that the node can check weights without loading it.
"""

import json
import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from sph_reg_ros.errors import ErrorCode, WeightsError

KINDS = ('similarity', 'regressor', 'agnostic_regressor')
FORMAT = 1


@dataclass(frozen=True)
class Card:
    """The card of a weights file.

    Attributes:
        kind: one of KINDS.
        network: settings that the network is built from.
        ct_hashes: the CTs it was trained on (hashes of voxels and geometry); a patient-specific
            network has one and serves no other.
        K: intrinsics (pixels) of the images it was trained on.
        image_size: their rows and columns.
        training: settings of the training, and the versions of the software.
        data_hash: of all that the training read.
        accuracy: measured on held-out data, units in the names.
        licence: under which the weights may be used; SPDX identifier where there is one.
        description: for people.
        sha256: of the weights file, in hex digits; `weights.save` fills it in.
        format: version of this list.
    """

    kind: str
    network: dict[str, Any]
    ct_hashes: tuple[str, ...]
    K: tuple[tuple[float, ...], ...]
    image_size: tuple[int, int]
    training: dict[str, Any]
    data_hash: str
    accuracy: dict[str, float]
    licence: str
    description: str = ''
    sha256: str = ''
    format: int = FORMAT

    def __post_init__(self) -> None:
        """Check every field; raises WeightsError."""
        for name in ('data_hash', 'licence', 'description', 'sha256'):
            _require(isinstance(getattr(self, name), str), f'{name} must be text')
        for name in ('network', 'training', 'accuracy'):
            _require(_is_object(getattr(self, name)), f'{name} must be an object')
        _require(self.format == FORMAT, f'format {self.format!r} is not {FORMAT}')
        _require(self.kind in KINDS, f'kind {self.kind!r} is none of {", ".join(KINDS)}')
        _require(
            isinstance(self.ct_hashes, tuple) and all(type(one) is str for one in self.ct_hashes),
            'ct_hashes must be texts',
        )
        _require(_is_matrix(self.K), 'K must be 3 x 3 finite numbers')
        size = self.image_size
        _require(
            isinstance(size, tuple)
            and len(size) == 2
            and all(type(n) is int and n > 0 for n in size),
            'image_size must be rows and columns',
        )
        _require(
            all(map(_is_finite, self.accuracy.values())), 'accuracy must hold finite numbers only'
        )

    def to_json(self) -> bytes:
        """Return the card as a JSON object; raises WeightsError for what JSON has no word for."""
        try:
            return (json.dumps(asdict(self), indent=2, allow_nan=False) + '\n').encode()
        except (TypeError, ValueError) as error:
            raise _invalid(f'it holds more than JSON can: {error}') from None

    @staticmethod
    def from_json(data: bytes) -> 'Card':
        """Read a card.

        Raises:
            WeightsError: WEIGHTS_INVALID unless it is a JSON object with exactly these fields.
        """
        content = parse_object(data, 'the card')
        names = {field.name for field in fields(Card)}
        for found, what in ((names - set(content), 'lacks'), (set(content) - names, 'has unknown')):
            _require(not found, f'it {what} {", ".join(sorted(found))}')
        for name in ('ct_hashes', 'K', 'image_size'):
            content[name] = _as_tuples(content[name])
        return Card(**content)


def parse_object(data: bytes, name: str) -> dict[str, Any]:
    """Return a JSON object; raises WeightsError WEIGHTS_INVALID with the name of where it is."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        raise _invalid('it is not valid JSON', name) from None
    _require(isinstance(content, dict), 'it holds no JSON object', name)
    return dict(content)


def _as_tuples(value: Any) -> Any:
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(key, str) for key in value)


def _is_matrix(value: Any) -> bool:
    rows = value if isinstance(value, tuple) else ()
    return len(rows) == 3 and all(
        isinstance(row, tuple) and len(row) == 3 and all(map(_is_finite, row)) for row in rows
    )


def _is_finite(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _require(condition: bool, reason: str, name: str = 'the card') -> None:
    if not condition:
        raise _invalid(reason, name)


def _invalid(reason: str, name: str = 'the card') -> WeightsError:
    return WeightsError(
        ErrorCode.WEIGHTS_INVALID, f'{name} of the weights cannot be used: {reason}'
    )
