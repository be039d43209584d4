"""The outline of an opaque body in an X-ray: where its mesh's silhouette ends, exactly.

Inside the silhouette of metal an X-ray says nothing, its outline says nearly everything. The
outline of a polyhedron is made of those edges that lie between a triangle that faces the source and
one that does not; of these, the ones that are hidden within the silhouette are left out.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sph_reg_ros.geometry import Camera

_BESIDE_PX = 1.5
"""So far on its two sides an outline has to be inside and outside of the silhouette."""
_LARGEST_RASTER_PX = 2048


@dataclass(frozen=True, eq=False)
class Edges:
    """Edges of a triangle mesh, each once.

    Attributes:
        vertices: [V, 3] in the body's frame (mm).
        faces: [F, 3] vertices of each triangle, all turning the same way.
        ends: [E, 2] vertices of each edge.
        sides: [E, 2] triangles that share it, the second -1 where there is only one.
    """

    vertices: NDArray
    faces: NDArray
    ends: NDArray
    sides: NDArray

    @classmethod
    def of_mesh(cls, vertices: NDArray, faces: NDArray) -> 'Edges':
        """Find the edges of triangles [F, 3] that share vertices [V, 3]."""
        faces = np.ascontiguousarray(faces, np.int64)
        pairs = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
        ends, first, number = np.unique(pairs, axis=0, return_index=True, return_inverse=True)
        sides = np.full((len(ends), 2), -1, np.int64)
        sides[:, 0] = first // 3
        number = number.reshape(-1)
        others = np.ones(len(pairs), bool)
        others[first] = False
        sides[number[others], 1] = np.nonzero(others)[0] // 3
        return cls(np.ascontiguousarray(vertices, np.float64), faces, ends, sides)

    @cached_property
    def centre(self) -> NDArray:
        """Return the middle of the mesh's box [3]."""
        return (self.vertices.min(0) + self.vertices.max(0)) / 2


@dataclass(frozen=True, eq=False)
class Outline:
    """Points on the outline of a body.

    Attributes:
        points: [n, 3] on the body, in camera axes (mm).
        pixels: [n, 2] where they are seen (column, row).
        normals: [n, 2] outwards in the image, of unit length.
        lengths: [n] of outline that each stands for (pixels).
    """

    points: NDArray
    pixels: NDArray
    normals: NDArray
    lengths: NDArray


def project(edges: Edges, camera_from_body: NDArray, K: NDArray) -> tuple[NDArray, NDArray]:
    """Return vertices in camera axes [V, 3] and in the image [V, 2]."""
    points = edges.vertices @ camera_from_body[:3, :3].T + camera_from_body[:3, 3]
    homogeneous = points @ K.T
    return points, homogeneous[:, :2] / homogeneous[:, 2:]


def draw_silhouette(mask: NDArray, edges: Edges, pixels: NDArray, origin: tuple[int, int]) -> None:
    """Set mask [h, w] to 1 where triangles with vertices at `pixels` cover a pixel's centre.

    Args:
        mask: uint8; a part of the image.
        edges: of the mesh.
        pixels: [V, 2] vertices in the image.
        origin: (left, top) of the part.
    """
    _fill(mask, pixels - np.array(origin, np.float64), edges.faces)


def outline(
    edges: Edges,
    camera_from_body: NDArray,
    camera: Camera,
    step_px: float,
    others: NDArray | None = None,
) -> Outline:
    """Return the outline of a body as a camera sees it, also beyond the border of the image.

    Args:
        edges: of the body's mesh.
        camera_from_body: [4, 4] pose (mm).
        camera: of the image.
        step_px: distance of points on long edges.
        others: [H, W] uint8, 1 where other opaque bodies are: outline next to it is left out.
    """
    K = camera.K.numpy()
    points, pixels = project(edges, camera_from_body, K)
    none = Outline(np.empty((0, 3)), np.empty((0, 2)), np.empty((0, 2)), np.empty(0))
    if points[:, 2].min() <= 1.0:
        return none
    low, high = _box(pixels)
    low = np.floor(low).astype(int) - 4
    size = np.ceil(high).astype(int) + 5 - low
    if size.max() > _LARGEST_RASTER_PX:
        return none
    mask = np.zeros((size[1], size[0]), np.uint8)
    draw_silhouette(mask, edges, pixels, (int(low[0]), int(low[1])))
    if others is not None:
        _paste(mask, others, low)
    found = _points_of(
        edges.ends, edges.sides, edges.faces, points, pixels, mask, low.astype(np.float64), step_px
    )
    return Outline(found[:, :3], found[:, 3:5], found[:, 5:7], found[:, 7])


def _paste(mask: NDArray, others: NDArray, low: NDArray) -> None:
    """Add another mask, of the whole image, to one whose corner is at `low`."""
    left, top = np.maximum(low, 0)
    right = min(others.shape[1], low[0] + mask.shape[1])
    bottom = min(others.shape[0], low[1] + mask.shape[0])
    if right > left and bottom > top:
        part = mask[top - low[1] : bottom - low[1], left - low[0] : right - low[0]]
        part |= others[top:bottom, left:right]


@njit(cache=True, nogil=True)
def _box(pixels: NDArray) -> tuple[NDArray, NDArray]:
    """Return the least and the largest column and row; NumPy takes a tenth of a frame for it."""
    low, high = pixels[0].copy(), pixels[0].copy()
    for point in range(pixels.shape[0]):
        for axis in range(2):
            low[axis] = min(low[axis], pixels[point, axis])
            high[axis] = max(high[axis], pixels[point, axis])
    return low, high


@njit(cache=True, nogil=True)
def _fill(mask: NDArray, pixels: NDArray, faces: NDArray) -> None:
    height, width = mask.shape
    for face in range(faces.shape[0]):
        ax, ay = pixels[faces[face, 0]]
        bx, by = pixels[faces[face, 1]]
        cx, cy = pixels[faces[face, 2]]
        turn = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        # Of a closed mesh, the triangles that turn one way cover all.
        if turn <= 0.0:
            continue
        top = max(0, int(np.ceil(min(ay, by, cy))))
        bottom = min(height - 1, int(np.floor(max(ay, by, cy))))
        left = max(0, int(np.ceil(min(ax, bx, cx))))
        right = min(width - 1, int(np.floor(max(ax, bx, cx))))
        for y in range(top, bottom + 1):
            for x in range(left, right + 1):
                if mask[y, x]:
                    continue
                e0 = (bx - ax) * (y - ay) - (by - ay) * (x - ax)
                e1 = (cx - bx) * (y - by) - (cy - by) * (x - bx)
                e2 = (ax - cx) * (y - cy) - (ay - cy) * (x - cx)
                if e0 >= 0 and e1 >= 0 and e2 >= 0:
                    mask[y, x] = 1


@njit(cache=True, nogil=True)
def _points_of(
    ends: NDArray,
    sides: NDArray,
    faces: NDArray,
    points: NDArray,
    pixels: NDArray,
    mask: NDArray,
    low: NDArray,
    step_px: float,
) -> NDArray:
    """Return rows (point, pixel, normal, length) of the outline."""
    is_front = np.empty(faces.shape[0], np.bool_)
    for face in range(faces.shape[0]):
        a, b, c = pixels[faces[face, 0]], pixels[faces[face, 1]], pixels[faces[face, 2]]
        is_front[face] = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]) > 0
    capacity = 4096
    rows = np.empty((capacity, 8))
    count = 0
    for edge in range(ends.shape[0]):
        if sides[edge, 1] >= 0 and is_front[sides[edge, 0]] == is_front[sides[edge, 1]]:
            continue
        first, second = ends[edge]
        along_x = pixels[second, 0] - pixels[first, 0]
        along_y = pixels[second, 1] - pixels[first, 1]
        length = np.hypot(along_x, along_y)
        if length < 1e-6:
            continue
        nx, ny = along_y / length, -along_x / length
        pieces = max(1, int(np.ceil(length / step_px)))
        for piece in range(pieces):
            share = (piece + 0.5) / pieces
            x = pixels[first, 0] + share * along_x
            y = pixels[first, 1] + share * along_y
            right = _at(mask, x - low[0] + _BESIDE_PX * nx, y - low[1] + _BESIDE_PX * ny)
            left = _at(mask, x - low[0] - _BESIDE_PX * nx, y - low[1] - _BESIDE_PX * ny)
            if right == left:
                continue
            sign = -1.0 if right else 1.0
            if count == capacity:
                capacity *= 2
                grown = np.empty((capacity, 8))
                grown[:count] = rows
                rows = grown
            # A share of the image's line is another share of the body's edge.
            near, far = points[first], points[second]
            inside = share * near[2] / (share * near[2] + (1 - share) * far[2])
            for axis in range(3):
                rows[count, axis] = (1 - inside) * near[axis] + inside * far[axis]
            rows[count, 3], rows[count, 4] = x, y
            rows[count, 5], rows[count, 6] = sign * nx, sign * ny
            rows[count, 7] = length / pieces
            count += 1
    return rows[:count]


@njit(cache=True, nogil=True)
def _at(mask: NDArray, x: float, y: float) -> bool:
    column, row = int(np.floor(x + 0.5)), int(np.floor(y + 0.5))
    if 0 <= column < mask.shape[1] and 0 <= row < mask.shape[0]:
        return mask[row, column] > 0
    return False
