import math

import numpy as np
import torch

from sph_reg_ros.geometry import Camera
from sph_reg_ros.rendering.outline import Edges, draw_silhouette, outline, project

CAMERA = Camera.from_geometry(1000.0, (0.5, 0.5), (240, 320))
FACES = np.array(
    [[0, 2, 1], [1, 2, 3], [4, 5, 6], [5, 7, 6], [0, 1, 4], [1, 5, 4]]
    + [[2, 6, 3], [3, 6, 7], [0, 4, 2], [2, 4, 6], [1, 3, 5], [3, 7, 5]]
)


def box(x: float, y: float, z: float) -> Edges:
    corners = [[i, j, k] for k in (-z, z) for j in (-y, y) for i in (-x, x)]
    return Edges.of_mesh(np.array(corners, float), FACES)


def ball(radius_mm: float) -> Edges:
    rows, columns = 60, 120
    vertices = [[0.0, 0.0, radius_mm], [0.0, 0.0, -radius_mm]]
    for row in range(1, rows):
        polar = math.pi * row / rows
        for column in range(columns):
            around = 2 * math.pi * column / columns
            x, y = math.cos(around), math.sin(around)
            vertices.append(
                [radius_mm * math.sin(polar) * x, radius_mm * math.sin(polar) * y]
                + [radius_mm * math.cos(polar)]
            )
    faces = []
    for column in range(columns):
        after = (column + 1) % columns
        faces.append([0, 2 + column, 2 + after])
        last = 2 + (rows - 2) * columns
        faces.append([1, last + after, last + column])
        for row in range(rows - 2):
            a, b = 2 + row * columns + column, 2 + row * columns + after
            faces += [[a, a + columns, b], [b, a + columns, b + columns]]
    return Edges.of_mesh(np.array(vertices), np.array(faces))


def placed(z_mm: float, turn: float = 0.0) -> np.ndarray:
    pose = np.eye(4)
    pose[:2, :2] = [[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]
    pose[2, 3] = z_mm
    return pose


def test_the_outline_of_a_ball_is_the_circle_that_rays_touch():
    found = outline(ball(30.0), placed(800.0), CAMERA, 2.0)
    centre = CAMERA.K[:2, 2].numpy()
    radius = 2000.0 * 30.0 / math.sqrt(800.0**2 - 30.0**2)
    assert np.abs(np.linalg.norm(found.pixels - centre, axis=1) - radius).max() < 0.15
    assert abs(found.lengths.sum() / (2 * math.pi * radius) - 1) < 0.01
    outwards = (found.pixels - centre) / radius
    assert (found.normals * outwards).sum(1).min() > 0.99


def test_points_of_an_outline_are_seen_where_it_says():
    found = outline(box(20.0, 12.0, 8.0), placed(700.0, 0.4), CAMERA, 3.0)
    seen = CAMERA.project(torch.from_numpy(found.points)).numpy()
    assert np.abs(seen - found.pixels).max() < 1e-9


def test_edges_within_the_silhouette_are_no_outline():
    body = box(20.0, 12.0, 8.0)
    found = outline(body, placed(700.0), CAMERA, 1.0)
    # Of a box that is seen from the front, the near face hides the far one.
    half = 2000.0 / (700.0 - 8.0) * np.array([20.0, 12.0])
    assert abs(found.lengths.sum() - 4 * half.sum()) < 8.0
    off = np.abs(np.abs(found.pixels - CAMERA.K[:2, 2].numpy()) - half).min(1)
    assert off.max() < 1e-6


def test_a_silhouette_covers_the_pixels_inside():
    body, mask = box(20.0, 12.0, 8.0), np.zeros(CAMERA.size, np.uint8)
    draw_silhouette(mask, body, project(body, placed(700.0), CAMERA.K.numpy())[1], (0, 0))
    half = 2000.0 / (700.0 - 8.0) * np.array([20.0, 12.0])
    assert abs(mask.sum() / (4 * half.prod()) - 1) < 0.02


def test_outline_next_to_another_opaque_body_is_left_out():
    alone = outline(box(20.0, 12.0, 8.0), placed(700.0), CAMERA, 1.0)
    others = np.zeros(CAMERA.size, np.uint8)
    others[:, 160:] = 1
    beside = outline(box(20.0, 12.0, 8.0), placed(700.0), CAMERA, 1.0, others)
    assert 0.4 < beside.lengths.sum() / alone.lengths.sum() < 0.6
    assert beside.pixels[:, 0].max() < 160


def test_a_body_behind_the_source_has_no_outline():
    assert len(outline(box(20.0, 12.0, 8.0), placed(5.0), CAMERA, 1.0).pixels) == 0
