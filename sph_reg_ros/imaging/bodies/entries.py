"""BODIES.yaml: which bodies there are, before anything that it names is read."""

import re
from dataclasses import field
from pathlib import Path
from typing import Any

import yaml

from sph_reg_ros.errors import BodyError, ConfigError, ErrorCode
from sph_reg_ros.imaging.bodies.mesh import MM_PER_UNIT
from sph_reg_ros.settings import from_plain, parameter, settings, unknown_message

LARGEST_BYTES = 1_000_000
KEYS = ('source', 'bodies')
NAME = re.compile('[A-Za-z][A-Za-z0-9_]*')
Label = int | str
Row = tuple[float, float, float, float]


@settings
class PriorEntry:
    """How far a body may have moved against its parent: standard deviations.

    Attributes:
        rotation_deg: about each axis.
        translation_mm: of the pivot, along each axis.
        pivot_lps_mm: what it turns about, such as the centre of a joint, in CT coordinates; the
            middle of the body if absent.
    """

    rotation_deg: float = parameter(6.0, low=0.01, high=180.0)
    translation_mm: float = parameter(5.0, low=0.001, high=1000.0)
    pivot_lps_mm: tuple[float, float, float] | None = None


@settings
class BodyEntry:
    """What the file says of one body.

    Attributes:
        name: unique; what `frame` is made of.
        source: label map or mesh, relative to the file's own folder; that of the file if empty.
        label: name or number of the label, or several that are one body; a mesh has none, and a map
            with a single label needs none.
        material: of a mesh, one of materials.COMPOSITIONS.
        attenuation: instead of it, in 1/mm.
        unit: of a mesh.
        voxel_mm: edge of the voxels that a mesh is turned into.
        ct_from_body: where the mesh lies in the CT, 4 rows; its coordinates are the CT's if absent.
        space: whose axes a mesh has that lies in the CT.
        parent: name of the body it hangs on; none if empty.
        prior: how far it may have moved.
        frame: tf frame; <patient>/<name> if empty.
    """

    name: str
    source: str = ''
    label: Label | tuple[Label, ...] | None = None
    material: str = ''
    attenuation: float | None = None
    unit: str = parameter('mm', choices=tuple(MM_PER_UNIT))
    voxel_mm: float = parameter(0.5, low=0.05, high=10.0)
    ct_from_body: tuple[Row, Row, Row, Row] | None = None
    space: str = parameter('lps', choices=('lps', 'ras'))
    parent: str = ''
    prior: PriorEntry = field(default=PriorEntry())
    frame: str = ''

    @property
    def labels(self) -> tuple[Label, ...]:
        """Return the labels, none if it names none."""
        if self.label is None:
            return ()
        return self.label if isinstance(self.label, tuple) else (self.label,)


def read_entries(path: Path) -> tuple[BodyEntry, ...]:
    """Read and check a list of bodies; parents come before their children.

    Raises:
        BodyError: BODY_UNREADABLE if the file cannot be read; BODIES_INVALID naming what is wrong
            in it.
    """
    content = _content(path)
    unknown = [key for key in content if key not in KEYS]
    if unknown:
        raise invalid(f'{path.name}: {unknown_message(str(unknown[0]), list(KEYS))}')
    listed = content.get('bodies')
    if not isinstance(listed, list) or not listed:
        raise invalid(f'{path.name} lists no bodies: write bodies: and one entry for each')
    shared = content.get('source', '')
    if not isinstance(shared, str):
        raise invalid(f'{path.name}: source must be the path of a file, not {shared!r}')
    entries = tuple(_entry(value, number, shared) for number, value in enumerate(listed, 1))
    _require_unique(entries)
    return _parents_first(entries)


def invalid(text: str) -> BodyError:
    """Return BODIES_INVALID."""
    return BodyError(ErrorCode.BODIES_INVALID, text)


def _content(path: Path) -> dict[Any, Any]:
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise invalid(
                f'{path.name} has {path.stat().st_size} bytes: give a YAML list of bodies'
            )
        content = yaml.safe_load(path.read_text(encoding='utf-8'))
    except OSError as error:
        raise BodyError(
            ErrorCode.BODY_UNREADABLE, f'the list of bodies cannot be read: {error.strerror}'
        ) from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise invalid(f'{path.name} is no YAML: line {line}: {error.problem}') from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError):
        raise invalid(f'{path.name} is no YAML: give a YAML list of bodies') from None
    if not isinstance(content, dict):
        raise invalid(f'{path.name} lists no bodies: write bodies: and one entry for each')
    return content


def _entry(value: Any, number: int, shared: str) -> BodyEntry:
    if not isinstance(value, dict) or not value.get('name'):
        raise invalid(f'body {number} has no name: write name: and what the body is called')
    name = f'body {value["name"]!r}'
    try:
        entry = from_plain(BodyEntry, {'source': shared, **value})
    except ConfigError as error:
        raise invalid(f'{name}: {error}') from None
    if not entry.source:
        raise invalid(f'{name} has no source: give the path of a label map or a mesh')
    if not NAME.fullmatch(entry.name):
        raise invalid(
            f'{name}: names become frames, topics and names of files: take letters, digits and _, '
            'a letter first'
        )
    return entry


def _require_unique(entries: tuple[BodyEntry, ...]) -> None:
    for key in ('name', 'frame'):
        values = [getattr(entry, key) for entry in entries]
        double = next((value for value in values if value and values.count(value) > 1), None)
        if double:
            raise invalid(f'two bodies have the {key} {double!r}: give each one of its own')


def _parents_first(entries: tuple[BodyEntry, ...]) -> tuple[BodyEntry, ...]:
    known = {entry.name for entry in entries}
    for entry in entries:
        if entry.parent and entry.parent not in known:
            raise invalid(
                f'body {entry.name!r}: there is no parent {entry.parent!r}; the bodies are '
                f'{", ".join(sorted(known))}'
            )
    ordered: list[BodyEntry] = []
    waiting = list(entries)
    while waiting:
        placed = {'', *(entry.name for entry in ordered)}
        ready = [entry for entry in waiting if entry.parent in placed]
        if not ready:
            circle = ', '.join(entry.name for entry in waiting)
            raise invalid(f'the parents of {circle} lead in a circle: leave one of them out')
        ordered += ready
        waiting = [entry for entry in waiting if entry not in ready]
    return tuple(ordered)
