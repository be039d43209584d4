"""How much of each voxel a closed mesh fills."""

import numpy as np
from jaxtyping import Float32, Float64
from numba import njit

from sph_reg_ros.errors import BodyError, ErrorCode
from sph_reg_ros.imaging.bodies.mesh import TriangleMesh

LINES = 16
"""Lines through a voxel, no two of them at the same y or the same z."""
STEP = 7
"""How much further in z each line lies than the one before it in y, in LINES a voxel."""
MOST_VOXELS = 2**27


def coverage_of(
    mesh: TriangleMesh, voxel_mm: float
) -> tuple[Float32[np.ndarray, 'K J I'], Float64[np.ndarray, '4 4']]:
    """Return the share of each voxel that lies inside, and mesh_from_index [4, 4] (mm).

    Along lines parallel to x, what lies inside is summed exactly from where they cross the surface;
    a surface that overlaps itself counts once. The grid is as small as the mesh allows.

    Raises:
        BodyError: BODY_MESH if there are too many voxels.
    """
    low, high = mesh.vertices.min(0), mesh.vertices.max(0)
    counts = np.maximum(np.ceil((high - low) / voxel_mm).astype(int), 1)
    if counts.prod() > MOST_VOXELS:
        raise BodyError(
            ErrorCode.BODY_MESH,
            f'{voxel_mm:g} mm make {counts.prod() / 1e6:.0f} million voxels of it: give a larger '
            'voxel_mm',
        )
    # The mesh in the middle of its grid.
    corner = (low + high - counts * voxel_mm) / 2
    columns, rows, slices = counts.tolist()
    changes = np.zeros((slices, rows, columns + 2), np.float32)
    _add_crossings((mesh.vertices - corner) / voxel_mm, mesh.faces, changes)
    coverage = np.cumsum(changes, axis=2, dtype=np.float64)[:, :, :columns]
    mesh_from_index = np.diag([voxel_mm, voxel_mm, voxel_mm, 1.0])
    mesh_from_index[:3, 3] = corner + voxel_mm / 2
    return coverage.clip(0, 1).astype(np.float32), mesh_from_index


@njit(cache=True)
def _add_crossings(vertices, faces, changes):  # type: ignore[no-untyped-def]
    """Add what each crossing changes in the coverage of the voxels from it on.

    Args:
        vertices: [V, 3] in voxels; voxel i fills i to i + 1.
        faces: [F, 3].
        changes: [K, J, I+2], added to; its running sum along x is the coverage.
    """
    weight = np.float32(1 / LINES)
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        y_low = min(vertices[a, 1], vertices[b, 1], vertices[c, 1])
        y_high = max(vertices[a, 1], vertices[b, 1], vertices[c, 1])
        z_low = min(vertices[a, 2], vertices[b, 2], vertices[c, 2])
        z_high = max(vertices[a, 2], vertices[b, 2], vertices[c, 2])
        for k in range(int(z_low), min(int(z_high) + 1, changes.shape[0])):
            for j in range(int(y_low), min(int(y_high) + 1, changes.shape[1])):
                for n in range(LINES):
                    y = j + (n + 0.5) / LINES
                    z = k + (STEP * n % LINES + 0.5) / LINES
                    at_a = _side(vertices, b, c, y, z)
                    at_b = _side(vertices, c, a, y, z)
                    at_c = _side(vertices, a, b, y, z)
                    if (at_a > 0) != (at_b > 0) or (at_a > 0) != (at_c > 0):
                        continue
                    x = (at_a * vertices[a, 0] + at_b * vertices[b, 0] + at_c * vertices[c, 0]) / (
                        at_a + at_b + at_c
                    )
                    # Seen along x, corners run clockwise where the line leaves the body.
                    change = -weight if at_a > 0 else weight
                    i = int(x)
                    changes[k, j, i] += change * np.float32(i + 1 - x)
                    changes[k, j, i + 1] += change * np.float32(x - i)


@njit(cache=True)
def _side(vertices, u, v, y, z):  # type: ignore[no-untyped-def]
    """Return twice the area of (u, v, point), never 0, the negative for (v, u, point).

    Both triangles at an edge so agree on which of them a line through it meets.
    """
    first, second = min(u, v), max(u, v)
    area = (vertices[second, 1] - vertices[first, 1]) * (z - vertices[first, 2]) - (
        vertices[second, 2] - vertices[first, 2]
    ) * (y - vertices[first, 1])
    area = area if area != 0 else 1e-30
    return area if u < v else -area
