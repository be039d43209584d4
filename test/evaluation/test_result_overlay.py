import numpy as np
import pytest
import trimesh
from body_files import attenuation, front_pose, registration, write_bodies, write_labels, write_mesh

from sph_reg_ros.evaluation.overlay import BODY_COLOURS, EDGE_COLOUR
from sph_reg_ros.evaluation.result_overlay import result_overlay
from sph_reg_ros.geometry import Camera
from sph_reg_ros.imaging.load_bodies import load_bodies
from sph_reg_ros.registration.result import Verdict
from sph_reg_ros.registration.view import View
from sph_reg_ros.rendering.render import render

CAMERA = Camera.from_geometry(1020.0, (0.6, 0.6), (200, 200))


@pytest.fixture
def shown(tmp_path):
    write_labels(tmp_path)
    surface = trimesh.creation.icosphere(subdivisions=4, radius=7.0)
    ct = attenuation()
    surface.apply_translation(ct.centre.tolist())
    write_mesh(tmp_path / 'ball.stl', surface)
    label = {'source': 'labels.nii.gz', 'label': 29, 'name': 'L3'}
    implant = {'source': 'ball.stl', 'material': 'steel', 'name': 'ball'}
    bodies = load_bodies(write_bodies(tmp_path, label, implant), ct)
    result = registration(bodies, front_pose(ct), (Verdict.VERIFIED, Verdict.REJECTED))
    view = View(render(ct, front_pose(ct), CAMERA.K, CAMERA.size, backend='torch'), CAMERA)
    return bodies, result, result_overlay(view, ct, bodies, result)


def of_colour(picture, colour):
    return (picture == np.array(colour, np.uint8)).all(-1)


def test_each_body_is_outlined_in_its_colour_where_it_was_found(shown):
    bodies, result, picture = shown
    assert of_colour(picture, EDGE_COLOUR).sum() > 100
    for body, found, colour in zip(bodies, result.bodies, BODY_COLOURS, strict=False):
        drr = render(
            body.volume, found.camera_from_body[0], CAMERA.K, CAMERA.size, backend='torch'
        ).numpy()
        rows, columns = np.nonzero(drr > 0.02 * drr.max())
        drawn = np.argwhere(of_colour(picture, colour))
        assert len(drawn) > 30
        for place, inside in zip(drawn.T, (rows, columns), strict=True):
            assert abs(place.min() - inside.min()) <= 3 and abs(place.max() - inside.max()) <= 3


def test_metal_is_an_outline_with_nothing_inside(shown):
    _, _, picture = shown
    drawn = np.argwhere(of_colour(picture, BODY_COLOURS[1]))
    middle = (drawn.min(0) + drawn.max(0)) / 2
    from_middle = np.linalg.norm(drawn - middle, axis=1)
    # But for its name.
    on_outline = from_middle > 0.85 * from_middle.max()
    assert on_outline.sum() > 40
    row, column = np.round(middle).astype(int)
    assert not of_colour(picture, BODY_COLOURS[1])[
        row - 14 : row - 6, column - 2 : column + 3
    ].any()
