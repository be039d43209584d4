"""LANDMARKS files: pairs of a CT point (LPS, mm) and its pixel (column, row)."""

import re
from pathlib import Path
from typing import Any

import numpy as np

from sph_reg_ros.cli.matrix_file import content_of, number_of, numbers_of, read_text, reading
from sph_reg_ros.errors import ErrorCode, PoseError
from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.registration.landmarks import Landmarks

FORMATS = (
    'a line of CSV is NAME, X, Y, Z, COLUMN, ROW (the name may be missing); YAML or JSON has '
    'landmarks: [{name: L1, ct: [X, Y, Z], pixel: [COLUMN, ROW]}], or markups: FILE.mrk.json of '
    '3D Slicer and pixels: {LABEL: [COLUMN, ROW]}; CT points are in LPS and mm'
)
_OUTSIDE_MM = 20.0

Pair = tuple[str, list[float], list[float]]


def read_landmarks(path: Path) -> Landmarks:
    """Return the pairs of a file, as `FORMATS` says.

    Raises:
        PoseError: unreadable, or not of these formats.
    """
    with reading(path, PoseError, ErrorCode.POSE_INVALID, ErrorCode.POSE_INVALID, FORMATS):
        text = read_text(path)
        pairs = _csv_pairs(text) or _pairs(content_of(text), path.parent)
    names, points, pixels = zip(*pairs, strict=True)
    return Landmarks(np.array(points, dtype=float), np.array(pixels, dtype=float), names)


def require_inside(landmarks: Landmarks, volume: AttenuationVolume) -> None:
    """Raise PoseError if a point lies outside the CT; says so if it would not in RAS."""
    if not is_outside(landmarks.ct_mm, volume).any():
        return
    name = landmarks.names[int(is_outside(landmarks.ct_mm, volume).argmax())]
    in_lps = landmarks.ct_mm * [-1, -1, 1]
    hint = 'check its coordinates (LPS, mm)'
    if not is_outside(in_lps, volume).any():
        hint = 'are the points in RAS? Change the signs of x and y'
    elif not is_outside(landmarks.ct_mm * 1000, volume).any():
        hint = 'are the points in metres? They must be in mm'
    raise PoseError(ErrorCode.POSE_INVALID, f'landmark {name} lies outside the CT: {hint}')


def is_outside(points_mm: np.ndarray, volume: AttenuationVolume) -> np.ndarray:
    """Return which points [N] lie well outside the CT's box."""
    index_from_ct = np.linalg.inv(volume.ct_from_index.cpu().numpy())
    index = points_mm @ index_from_ct[:3, :3].T + index_from_ct[:3, 3]
    spacing = np.linalg.norm(volume.ct_from_index.cpu().numpy()[:3, :3], axis=0)
    beyond = np.maximum(-index, index - (np.array(volume.shape[::-1]) - 1)) * spacing
    return (beyond > _OUTSIDE_MM).any(1)


def _csv_pairs(text: str) -> list[Pair]:
    """Return the pairs of lines with five numbers each; [] if it is no such text."""
    pairs: list[Pair] = []
    for line in text.splitlines():
        separator = r'[,;\t]' if re.search(r'[,;\t]', line) else r'\s+'
        words = [word.strip() for word in re.split(separator, line.strip())]
        if not any(words) or words[0].startswith('#'):
            continue
        numbers = [_number(word) for word in words[-5:]]
        if len(words) not in (5, 6) or any(number is None for number in numbers):
            if pairs or _number(words[-1]) is not None:
                return []
            continue  # what stands above the columns
        name = words[0] if len(words) == 6 else str(len(pairs) + 1)
        values = [number_of(word) for word in words[-5:]]
        pairs.append((name, values[:3], values[3:]))
    return pairs


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None


def _pairs(content: Any, folder: Path) -> list[Pair]:
    if isinstance(content, dict) and isinstance(content.get('markups'), list):
        raise ValueError('it has points of the CT alone, the pixels are missing')
    if isinstance(content, dict) and 'markups' in content:
        return _markup_pairs(content, folder)
    entries = content.get('landmarks') if isinstance(content, dict) else content
    if not isinstance(entries, list) or not entries:
        raise ValueError('it has no landmarks')
    return [_pair(entry, str(number)) for number, entry in enumerate(entries, 1)]


def _pair(entry: Any, number: str) -> Pair:
    if isinstance(entry, list):
        entry = {'ct': entry[:3], 'pixel': entry[3:]}
    if not isinstance(entry, dict):
        raise ValueError(f'landmark {number} is no pair')
    name = str(entry.get('name', number))
    point, pixel = (_numbers(entry.get(key), f'{key} of {name}') for key in ('ct', 'pixel'))
    if (len(point), len(pixel)) != (3, 2):
        raise ValueError(f'landmark {name} needs 3 numbers in the CT and 2 in the image')
    return name, point, pixel


def _numbers(value: Any, what: str) -> list[float]:
    try:
        return numbers_of(value)
    except ValueError as error:
        raise ValueError(f'{what}: {error}') from None


def _markup_pairs(content: dict[str, Any], folder: Path) -> list[Pair]:
    """Return the pairs of points that 3D Slicer saved, and of pixels by their labels."""
    points, pixels = _markups(folder / str(content['markups'])), content.get('pixels')
    if not isinstance(pixels, dict) or not pixels:
        raise ValueError('pixels must be LABEL: [COLUMN, ROW]')
    missing = [str(label) for label in pixels if str(label) not in points]
    if missing:
        raise ValueError(
            f'{content["markups"]} has no point {", ".join(missing)}, but {", ".join(points)}'
        )
    return [
        _pair({'name': str(label), 'ct': points[str(label)], 'pixel': pixel}, str(label))
        for label, pixel in pixels.items()
    ]


def _markups(path: Path) -> dict[str, list[float]]:
    """Return points in LPS by their labels."""
    try:
        (markup,) = content_of(read_text(path))['markups']
        flip = {'LPS': (1, 1, 1), 'RAS': (-1, -1, 1)}[markup['coordinateSystem']]
        return {
            str(point['label']): [
                sign * value
                for sign, value in zip(flip, numbers_of(point['position']), strict=True)
            ]
            for point in markup['controlPoints']
        }
    except OSError as error:
        raise ValueError(f'{path.name} cannot be read: {error.strerror}') from None
    except (ValueError, KeyError, TypeError):
        raise ValueError(f'{path.name} is no list of points of 3D Slicer (.mrk.json)') from None
