"""Closed triangle meshes from STL, OBJ and PLY files, by trimesh."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from sph_reg_ros.errors import BodyError, ErrorCode, missing_package

SUFFIXES = ('.stl', '.obj', '.ply')
MM_PER_UNIT = {'mm': 1.0, 'cm': 10.0, 'm': 1000.0, 'inch': 25.4}
EXTENT_MM = (2.0, 1000.0)
"""Shortest and longest of the longest sides of bodies; others are in another unit."""


MOST_CLOSED = 0.01
"""Largest share of a surface that may be missing."""


@dataclass(frozen=True)
class TriangleMesh:
    """A closed surface; seen from outside, a triangle's corners run counter-clockwise.

    Attributes:
        vertices: [V, 3] in mm.
        faces: [F, 3] indices of vertices, which neighbours share.
        notes: what was repaired, a sentence each.
    """

    vertices: Float64[np.ndarray, 'V 3']
    faces: Int64[np.ndarray, 'F 3']
    notes: tuple[str, ...] = ()


def is_mesh(path: Path) -> bool:
    """Return whether the name of a file is that of a mesh."""
    return path.suffix.lower() in SUFFIXES


def parse_mesh(path: Path, unit: str = 'mm') -> TriangleMesh:
    """Read a mesh; nothing but this file is opened, whatever it names.

    Surfaces that are inside out are turned, and small holes closed, with a note.

    Args:
        path: .stl, .obj or .ply file.
        unit: of its numbers, one of MM_PER_UNIT.

    Raises:
        BodyError: BODY_UNREADABLE; BODY_MESH if it does not enclose a volume, or its size cannot be
            that of a body.
        RuntimeUnavailableError: trimesh is missing.
    """
    try:
        import trimesh
    except ImportError as error:
        raise missing_package(error) from None
    try:
        with path.open('rb') as file:
            mesh = trimesh.load_mesh(file, file_type=path.suffix[1:].lower(), skip_materials=True)
        vertices = np.asarray(mesh.vertices, np.float64)
    except Exception:  # readers raise nearly any type
        raise BodyError(
            ErrorCode.BODY_UNREADABLE,
            f'{path.name} is truncated, damaged or no {path.suffix[1:].upper()}: export it again',
        ) from None
    if not len(mesh.faces) or not np.isfinite(vertices).all():
        raise BodyError(
            ErrorCode.BODY_MESH,
            f'{path.name} has no triangles, or infinite corners: export the surface again',
        )
    _require_size(vertices, unit, path.name)
    mesh.apply_scale(MM_PER_UNIT[unit])
    notes = _repair(mesh, path.name)
    return TriangleMesh(np.array(mesh.vertices, np.float64), np.array(mesh.faces, np.int64), notes)


def _require_size(vertices: Float64[np.ndarray, 'V 3'], unit: str, name: str) -> None:
    size = float(np.ptp(vertices, axis=0).max())
    low, high = EXTENT_MM
    if low <= size * MM_PER_UNIT[unit] <= high:
        return
    fitting = [u for u, mm in MM_PER_UNIT.items() if low <= size * mm <= high]
    raise BodyError(
        ErrorCode.BODY_MESH,
        f'{name} would be {size * MM_PER_UNIT[unit]:.3g} mm large: give the unit of its numbers '
        f'(unit: {" or ".join(fitting) or ", ".join(MM_PER_UNIT)}), or scale it to millimetres',
    )


def _repair(mesh: Any, name: str) -> tuple[str, ...]:
    """Close and turn a trimesh.Trimesh in place; return what was done; raises BodyError."""
    import trimesh

    notes = []
    if not mesh.is_watertight:
        open_edges, area = _open_edges(mesh), mesh.area
        trimesh.repair.fill_holes(mesh, use_fan=True)
        if not mesh.is_watertight or mesh.area > (1 + MOST_CLOSED) * area:
            raise BodyError(
                ErrorCode.BODY_MESH,
                f'{name} is open: {open_edges} edges have no triangle on one side. Close it '
                '(MeshLab, Blender or Meshmixer have a command for it) and export it again',
            )
        notes.append(f'{name} had small holes ({open_edges} open edges): they were closed')
    if not mesh.is_winding_consistent:
        mesh.fix_normals(multibody=True)
        notes.append(f'{name} had triangles that faced inwards: they were turned')
    if mesh.volume < 0:
        mesh.invert()
        notes.append(f'{name} was inside out: it was turned')
    return tuple(notes)


def _open_edges(mesh: Any) -> int:
    _, counts = np.unique(mesh.edges_sorted, axis=0, return_counts=True)
    return int((counts != 2).sum())
