import numpy as np
import pytest
import trimesh
from body_files import write_mesh

from sph_reg_ros.errors import BodyError, ErrorCode
from sph_reg_ros.imaging.bodies.mesh import parse_mesh


def implant() -> trimesh.Trimesh:
    return trimesh.creation.capsule(height=40.0, radius=6.0)


@pytest.mark.parametrize('suffix', ['.stl', '.obj', '.ply'])
def test_every_format_gives_one_closed_surface_that_faces_outwards(tmp_path, suffix):
    found = parse_mesh(write_mesh(tmp_path / f'implant{suffix}', implant()))
    surface = trimesh.Trimesh(found.vertices, found.faces, process=False)
    assert surface.is_watertight and found.notes == ()
    assert surface.volume == pytest.approx(implant().volume, rel=1e-4)
    assert found.faces.dtype == np.int64 and found.vertices.dtype == np.float64


def test_a_surface_that_is_inside_out_is_turned_and_that_is_said(tmp_path):
    surface = implant()
    surface.invert()
    found = parse_mesh(write_mesh(tmp_path / 'implant.stl', surface))
    assert trimesh.Trimesh(found.vertices, found.faces).volume > 0
    assert found.notes == ('implant.stl was inside out: it was turned',)


def test_a_few_turned_triangles_are_turned_back_and_that_is_said(tmp_path):
    surface = implant()
    surface.faces[::7] = surface.faces[::7, ::-1]
    found = parse_mesh(write_mesh(tmp_path / 'implant.ply', surface))
    assert trimesh.Trimesh(found.vertices, found.faces).volume == pytest.approx(implant().volume)
    assert 'faced inwards' in found.notes[0]


def test_a_missing_triangle_is_closed_and_that_is_said(tmp_path):
    surface = implant()
    surface.update_faces(np.arange(len(surface.faces)) != 5)
    found = parse_mesh(write_mesh(tmp_path / 'implant.stl', surface))
    assert trimesh.Trimesh(found.vertices, found.faces).is_watertight
    assert '3 open edges' in found.notes[0]


def test_an_open_surface_is_refused(tmp_path):
    surface = implant()
    surface.update_faces(surface.triangles_center[:, 2] < 0)
    with pytest.raises(BodyError, match=r'implant.stl is open: \d+ edges .* Close it') as error:
        parse_mesh(write_mesh(tmp_path / 'implant.stl', surface))
    assert error.value.code == ErrorCode.BODY_MESH


@pytest.mark.parametrize(('scale', 'unit'), [(0.001, 'm'), (1e3, '')])
def test_another_unit_is_refused_with_the_one_to_give(tmp_path, scale, unit):
    path = write_mesh(tmp_path / 'implant.stl', implant(), scale)
    with pytest.raises(BodyError, match=f'mm large.*unit: .*{unit}') as error:
        parse_mesh(path)
    assert error.value.code == ErrorCode.BODY_MESH


def test_the_unit_that_is_given_counts(tmp_path):
    found = parse_mesh(write_mesh(tmp_path / 'implant.stl', implant(), 0.001), 'm')
    assert np.ptp(found.vertices, axis=0).max() == pytest.approx(52.0, rel=1e-3)


@pytest.mark.parametrize('content', [b'', b'solid\nfacet normal 0', b'\0' * 84, b'ply\n' * 40])
@pytest.mark.parametrize('suffix', ['.stl', '.obj', '.ply'])
def test_damaged_files_are_refused(tmp_path, content, suffix):
    path = tmp_path / f'implant{suffix}'
    path.write_bytes(content)
    with pytest.raises(BodyError, match='export') as error:
        parse_mesh(path)
    assert error.value.code in (ErrorCode.BODY_UNREADABLE, ErrorCode.BODY_MESH)


def test_files_that_a_mesh_names_are_not_opened(tmp_path):
    path = write_mesh(tmp_path / 'implant.obj', implant())
    path.write_text('mtllib /nowhere/secret.mtl\nusemtl steel\n' + path.read_text())
    assert len(parse_mesh(path).faces) == len(implant().faces)
