"""Bodies in, from a YAML list of label maps and meshes; a child process parses those."""

import difflib
from collections.abc import Callable, Iterable
from functools import cache
from math import radians
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Float64
from torch import Tensor

from sph_reg_ros.errors import BodyError, ErrorCode, PoseError
from sph_reg_ros.geometry import se3
from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.imaging.bodies.body import Bodies, Body, MotionPrior
from sph_reg_ros.imaging.bodies.entries import BodyEntry, invalid, read_entries
from sph_reg_ros.imaging.bodies.labels import LabelMap, is_label_map, names_of
from sph_reg_ros.imaging.bodies.materials import Material, material, material_of_attenuation
from sph_reg_ros.imaging.bodies.mesh import TriangleMesh, is_mesh
from sph_reg_ros.imaging.bodies.parts import (
    LEAST_DENSE,
    LEAST_INSIDE,
    Remainder,
    coverage_in_ct,
    grown,
    soft_tissue_attenuation,
)
from sph_reg_ros.imaging.sandbox.child_process import (
    GIBIBYTE,
    ChildError,
    Limits,
    Report,
    run_child,
)

MOST_NAMES = 5


def load_bodies(
    path: Path | str,
    ct: AttenuationVolume | None,
    *,
    energy_kev: float = 60.0,
    permit: Callable[[Path], Path] = Path.resolve,
) -> Bodies:
    """Load the bodies that a YAML file lists; docs/bodies.md describes it.

    Args:
        path: of the file.
        ct: attenuation of the CT that label maps are of; None if there are meshes alone.
        energy_kev: that the CT's attenuation is of.
        permit: returns where a path of a source leads, or raises; for callers that restrict what
            may be read.

    Raises:
        BodyError: BODIES_INVALID, BODY_UNREADABLE, BODY_LABELS or BODY_MESH, naming the body.
        RuntimeUnavailableError: a package that reads a source is missing.
    """
    path = Path(path)
    loader = _Loader(path.parent, ct, energy_kev, permit)
    bodies = tuple(loader.body(entry) for entry in read_entries(path))
    rest = None if loader.remainder is None else loader.remainder.volume
    return Bodies(bodies, rest, tuple(dict.fromkeys(loader.notes)))


class _Loader:
    """Makes bodies of entries, one after the other; each source is read once."""

    def __init__(
        self,
        folder: Path,
        ct: AttenuationVolume | None,
        energy_kev: float,
        permit: Callable[[Path], Path],
    ) -> None:
        self._folder, self._ct, self._energy_kev, self._permit = folder, ct, energy_kev, permit
        self._labels = cache(load_labels)
        self.remainder = None if ct is None else Remainder(ct, energy_kev)
        self.notes: list[str] = []

    def body(self, entry: BodyEntry) -> Body:
        """Return a body; raises BodyError naming it."""
        try:
            source = self._permit((self._folder / entry.source).absolute())
            if not source.is_file():
                raise BodyError(ErrorCode.BODY_UNREADABLE, f'there is no file {entry.source}')
            if is_mesh(source):
                return self._of_mesh(entry, source)
            if is_label_map(source):
                return self._of_labels(entry, source)
            raise BodyError(
                ErrorCode.BODY_UNREADABLE,
                f'the format of {source.name} is not known: give a label map (.nii, .nii.gz, '
                '.nrrd, .mha, DICOM SEG) or a mesh (.stl, .obj, .ply)',
            )
        except BodyError as error:
            raise BodyError(error.code, f'body {entry.name!r}: {error}') from None

    def _of_labels(self, entry: BodyEntry, source: Path) -> Body:
        if self._ct is None or self.remainder is None:
            raise invalid('a label map needs the CT that it is of')
        for key in ('material', 'attenuation', 'ct_from_body'):
            if getattr(entry, key):
                raise invalid(f'{key} is of meshes; a label map takes that from the CT')
        label_map = self._labels(source)
        mask = np.isin(label_map.labels, label_numbers(label_map, entry.labels, source.name))
        if not mask.any():
            raise BodyError(
                ErrorCode.BODY_LABELS,
                f'{source.name} has no voxel of {_listed(entry.labels)}; it has '
                f'{_present(label_map)}',
            )
        # The edge of bone is blurred: without the voxels around it, a shell would stay behind.
        share = grown(mask, label_map.labels == 0).astype(np.float32)
        coverage = coverage_in_ct(share, label_map.lps_from_index, self._ct)
        if coverage is None or coverage.inside < LEAST_INSIDE:
            inside = 0.0 if coverage is None else coverage.inside
            raise BodyError(
                ErrorCode.BODY_LABELS,
                f'{inside:.0%} of it lie in the CT: {source.name} is of another CT, or its '
                'orientation was lost; give the map that was made of this CT',
            )
        if coverage.inside < 1:
            self.notes.append(
                f'{entry.name}: {1 - coverage.inside:.0%} of it lie outside of the CT'
            )
        excess = self.remainder.cut(coverage)
        dense = float((excess > 0).sum() / (coverage.share > 0).sum())
        if dense < LEAST_DENSE:
            raise BodyError(
                ErrorCode.BODY_LABELS,
                f'{dense:.0%} of its voxels are denser than soft tissue: {source.name} does not '
                'belong to this CT, another body has these voxels, or it is no bone',
            )
        volume = self.remainder.part(excess, coverage.start)
        return _body(entry, volume)

    def _of_mesh(self, entry: BodyEntry, source: Path) -> Body:
        if entry.labels:
            raise invalid('label is of label maps; a mesh is one body')
        substance = self._material(entry)
        mesh, share, mesh_from_index = _read_mesh(source, entry.unit, entry.voxel_mm)
        self.notes += mesh.notes
        ct_from_body = _placed(entry)
        per_mm = substance.attenuation_per_mm
        if self._ct is not None and self.remainder is not None:
            coverage = coverage_in_ct(share, ct_from_body.numpy() @ mesh_from_index, self._ct)
            if coverage is None:
                raise BodyError(
                    ErrorCode.BODY_MESH,
                    'it lies outside of the CT: say where it is (ct_from_body), or that its '
                    'coordinates are RAS (space: ras)',
                )
            self.remainder.cut(coverage)
            per_mm = max(per_mm - soft_tissue_attenuation(self._energy_kev), 0.0)
        volume = AttenuationVolume(
            torch.from_numpy(share * np.float32(per_mm)), torch.from_numpy(mesh_from_index)
        )
        return _body(entry, volume, ct_from_body, mesh, substance)

    def _material(self, entry: BodyEntry) -> Material:
        if bool(entry.material) == (entry.attenuation is not None):
            raise invalid('a mesh needs a material or an attenuation (1/mm), one of both')
        if entry.attenuation is None:
            return material(entry.material, self._energy_kev)
        if entry.attenuation <= 0:
            raise invalid('attenuation must be above 0')
        return material_of_attenuation(entry.attenuation, self._energy_kev)


def _body(
    entry: BodyEntry,
    volume: AttenuationVolume,
    ct_from_body: Float64[Tensor, '4 4'] | None = None,
    mesh: TriangleMesh | None = None,
    substance: Material | None = None,
) -> Body:
    ct_from_body = torch.eye(4, dtype=torch.float64) if ct_from_body is None else ct_from_body
    pivot = entry.prior.pivot_lps_mm
    if pivot is not None:
        point = torch.tensor([pivot], dtype=torch.float64)
        x, y, z = se3.transform_points(torch.linalg.inv(ct_from_body), point)[0].tolist()
        pivot = (x, y, z)
    prior = MotionPrior(radians(entry.prior.rotation_deg), entry.prior.translation_mm, pivot)
    return Body(
        name=entry.name,
        volume=volume,
        ct_from_body=ct_from_body,
        mesh=mesh,
        material=substance,
        parent=entry.parent or None,
        prior=prior,
        frame=entry.frame or None,
    )


def _placed(entry: BodyEntry) -> Float64[Tensor, '4 4']:
    """Return where a mesh lies in the CT; raises BodyError."""
    if entry.ct_from_body is None:
        signs = (-1.0, -1.0, 1.0, 1.0) if entry.space == 'ras' else (1.0,) * 4
        return torch.diag(torch.tensor(signs, dtype=torch.float64))
    if entry.space != 'lps':
        raise invalid('ct_from_body leads to LPS: leave out space')
    matrix = torch.tensor(entry.ct_from_body, dtype=torch.float64)
    try:
        se3.require_rigid(matrix, 'ct_from_body')
    except PoseError as error:
        raise invalid(str(error)) from None
    return matrix


def label_numbers(label_map: LabelMap, labels: tuple[int | str, ...], file: str) -> list[int]:
    """Return the numbers of labels; raises BodyError for an unknown name."""
    if not labels:
        present = np.unique(label_map.labels[label_map.labels > 0]).tolist()
        if len(present) > 1:
            raise BodyError(
                ErrorCode.BODY_LABELS,
                f'{file} has several labels, {_present(label_map)}: say which (label:)',
            )
        return present
    names = names_of(label_map)
    numbers = {name.casefold(): number for number, name in names.items()}
    found = []
    for label in labels:
        if isinstance(label, str) and label.casefold() not in numbers:
            near = difflib.get_close_matches(label, names.values(), n=3, cutoff=0.5)
            hint = f'the nearest are {", ".join(near)}' if near else f'it has {_present(label_map)}'
            raise BodyError(ErrorCode.BODY_LABELS, f'{file} has no label {label!r}: {hint}')
        found.append(label if isinstance(label, int) else numbers[label.casefold()])
    return found


def _present(label_map: LabelMap) -> str:
    """Return the labels that a map has voxels of, as text."""
    names = names_of(label_map)
    present = np.unique(label_map.labels[label_map.labels > 0]).tolist()
    return _listed([names.get(number, number) for number in present]) if present else 'none'


def _listed(labels: Iterable[Any]) -> str:
    texts = [str(label) for label in labels] or ['any label']
    more = f' and {len(texts) - MOST_NAMES} more' if len(texts) > MOST_NAMES else ''
    return ', '.join(texts[:MOST_NAMES]) + more


def load_labels(path: Path) -> LabelMap:
    """Load a label map in a child process; raises BodyError BODY_UNREADABLE or BODY_LABELS."""
    limits = Limits.for_input(path.stat().st_size, 1, base_bytes=16 * GIBIBYTE, base_s=60)
    report = _read('load_labels', path, limits)
    labels, lps_from_index = report.arrays
    return LabelMap(labels, lps_from_index, dict(report.values['names']))


def _read_mesh(
    path: Path, unit: str, voxel_mm: float
) -> tuple[TriangleMesh, Float32[np.ndarray, 'K J I'], Float64[np.ndarray, '4 4']]:
    """Return a mesh and what `coverage_of` gives of it."""
    limits = Limits.for_input(path.stat().st_size, 1, base_bytes=16 * GIBIBYTE, base_s=60)
    report = _read('load_mesh', path, limits, unit=unit, voxel_mm=voxel_mm)
    vertices, faces, share, mesh_from_index = report.arrays
    mesh = TriangleMesh(vertices, faces, tuple(report.values['notes']))
    return mesh, share, mesh_from_index.copy()


def _read(task: str, path: Path, limits: Limits, **arguments: str | float) -> Report:
    try:
        return run_child(task, {'path': str(path), **arguments}, limits)
    except ChildError as error:
        raise BodyError(
            ErrorCode.BODY_UNREADABLE, f'{path.name} cannot be read: {error}: export it again'
        ) from None
