import numpy as np
import pytest
import torch
import trimesh
from body_files import (
    BLOCKS,
    attenuation,
    ct_phantom,
    label_phantom,
    total,
    write_bodies,
    write_labels,
    write_mesh,
)
from ct_files import Phantom

import sph_reg_ros.imaging.load_bodies as load_bodies_module
from sph_reg_ros.errors import BodyError, ConfigError, ErrorCode
from sph_reg_ros.geometry import Camera, se3
from sph_reg_ros.imaging.bodies.parts import soft_tissue_attenuation
from sph_reg_ros.imaging.load_bodies import load_bodies
from sph_reg_ros.imaging.sandbox import child
from sph_reg_ros.imaging.sandbox.child_process import Report
from sph_reg_ros.rendering.render import render

L3 = {'name': 'L3', 'label': 'vertebrae_L3', 'source': 'labels.nii.gz'}
S1 = {'name': 'S1', 'label': 26, 'source': 'labels.nii.gz'}
SOFT = soft_tissue_attenuation(60.0)


@pytest.fixture(autouse=True)
def without_child(monkeypatch):
    """Parse sources in this process, which is faster; returns how to undo that."""

    class InPlace:
        empty = staticmethod(np.empty)

    def read(task, arguments, limits):
        return Report(*child.TASKS[task](InPlace(), **arguments))

    monkeypatch.setattr(load_bodies_module, 'run_child', read)
    return monkeypatch.undo


def ball(radius: float = 8.0) -> trimesh.Trimesh:
    """Return a ball in the middle of the muscle of the phantom."""
    surface = trimesh.creation.icosphere(subdivisions=4, radius=radius)
    affine = ct_phantom().ct_from_index
    surface.apply_translation((affine @ (18.0, 15.0, 15.0, 1.0))[:3])
    return surface


def implant_entry(**keys) -> dict:
    return {'name': 'implant', 'source': 'ball.stl', 'material': 'titanium', **keys}


def refused(tmp_path, *bodies, match, code=ErrorCode.BODIES_INVALID, ct=None, **keys):
    with pytest.raises(BodyError, match=match) as error:
        load_bodies(write_bodies(tmp_path, *bodies, **keys), ct or attenuation())
    assert error.value.code == code


def test_where_nothing_has_moved_bodies_and_rest_are_the_ct(tmp_path):
    write_labels(tmp_path)
    ct = attenuation()
    found = load_bodies(write_bodies(tmp_path, L3, S1), ct)
    camera = Camera(torch.tensor([[900.0, 0, 40], [0, 900.0, 30], [0, 0, 1]]).double(), 60, 80)
    pose = se3.exp(torch.tensor([1.4, 0.1, 0.2, 0, 0, 0], dtype=torch.float64))
    pose[:3, 3] = -pose[:3, :3] @ ct.centre + torch.tensor([0, 0, 600.0], dtype=torch.float64)
    rendered = [
        render(volume, pose, camera.K, camera.size, backend='torch')
        for volume in (ct, found.rest, *(body.volume for body in found))
    ]
    # Rays are sampled from where they enter each volume.
    assert (rendered[0] - sum(rendered[1:])).abs().mean() < 0.01 * rendered[0].mean()
    assert total(ct) == pytest.approx(
        total(found.rest) + sum(total(body.volume) for body in found), rel=1e-5
    )


def test_a_body_leaves_soft_tissue_and_lies_where_its_label_is(tmp_path):
    write_labels(tmp_path)
    found = load_bodies(write_bodies(tmp_path, L3), attenuation())
    label = label_phantom().hounsfield == 29
    assert found.rest.mu.numpy()[label] == pytest.approx(SOFT, rel=1e-4)
    np.testing.assert_array_equal(found.rest.mu.numpy()[~label], attenuation().mu.numpy()[~label])
    places = np.argwhere(label)[:, ::-1].mean(0)
    affine = ct_phantom().ct_from_index
    middle = affine[:3, :3] @ places + affine[:3, 3]
    np.testing.assert_allclose(found['L3'].volume.centre, middle, atol=1e-6)
    assert torch.equal(found['L3'].ct_from_body, torch.eye(4, dtype=torch.float64))
    assert found['L3'].material is None and not found['L3'].is_metal


@pytest.mark.parametrize('axes', [(0, 1, 2), (2, 0, 1)])
def test_labels_on_another_grid_of_the_same_space_are_resampled(tmp_path, axes):
    write_labels(tmp_path, phantom=label_phantom().stored_as(axes, (True, False, True)))
    ct = attenuation()
    found = load_bodies(write_bodies(tmp_path, L3), ct)
    turned = total(found['L3'].volume)
    write_labels(tmp_path)
    assert turned == pytest.approx(total(load_bodies(tmp_path / 'bodies.yaml', ct)['L3'].volume))
    finer = label_phantom()
    affine = finer.ct_from_index @ np.diag([0.5, 0.5, 0.5, 1])
    affine[:3, 3] -= finer.ct_from_index[:3, :3] @ (0.25, 0.25, 0.25)
    doubled = finer.hounsfield.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    write_labels(tmp_path, phantom=Phantom(doubled, affine))
    assert turned == pytest.approx(
        total(load_bodies(tmp_path / 'bodies.yaml', ct)['L3'].volume), rel=0.02
    )


def test_labels_of_another_place_are_refused(tmp_path):
    phantom = label_phantom()
    phantom.ct_from_index[2, 3] += 500
    write_labels(tmp_path, phantom=phantom)
    refused(tmp_path, L3, match="'L3': 0% of it lie in the CT", code=ErrorCode.BODY_LABELS)


def test_labels_that_lie_in_air_or_muscle_are_refused(tmp_path):
    phantom = label_phantom()
    phantom.hounsfield[:] = np.roll(phantom.hounsfield, -10, axis=1)
    write_labels(tmp_path, phantom=phantom)
    refused(tmp_path, L3, match='denser than soft tissue', code=ErrorCode.BODY_LABELS)


def test_a_structure_that_the_ct_cuts_off_is_taken_with_a_note(tmp_path):
    phantom = label_phantom()
    phantom.hounsfield[BLOCKS[29].stop : 24, 8:20, 10:26] = 29
    high = Phantom(np.pad(phantom.hounsfield, ((0, 5), (0, 0), (0, 0))), phantom.ct_from_index)
    high.hounsfield[24:, 8:20, 10:26] = 29
    write_labels(tmp_path, phantom=high)
    found = load_bodies(write_bodies(tmp_path, L3), attenuation())
    assert found.notes == ('L3: 28% of it lie outside of the CT',)


def test_labels_go_by_number_by_name_or_alone_and_several_make_one_body(tmp_path):
    write_labels(tmp_path)
    ct = attenuation()
    one = load_bodies(write_bodies(tmp_path, {**S1, 'label': 'Vertebrae_S1'}), ct)
    assert total(one['S1'].volume) == total(
        load_bodies(write_bodies(tmp_path, S1), ct)['S1'].volume
    )
    both = load_bodies(write_bodies(tmp_path, {**S1, 'label': [26, 'vertebrae_L3']}), ct)
    assert total(both['S1'].volume) == pytest.approx(3.5 / 1.5 * total(one['S1'].volume), rel=0.01)
    alone = label_phantom()
    alone.hounsfield[alone.hounsfield == 29] = 0
    write_labels(tmp_path, phantom=alone)
    only = load_bodies(write_bodies(tmp_path, {'name': 'S1'}, source='labels.nii.gz'), ct)
    assert total(only['S1'].volume) == total(one['S1'].volume)


def test_labels_that_are_not_there_are_refused_with_what_there_is(tmp_path):
    write_labels(tmp_path)
    code = ErrorCode.BODY_LABELS
    refused(tmp_path, {**L3, 'label': 'vertebra_L3'}, match='nearest are vertebrae_L3', code=code)
    refused(tmp_path, {**L3, 'label': 'zz'}, match='has vertebrae_S1, vertebrae_L3', code=code)
    refused(tmp_path, {**L3, 'label': 40}, match='no voxel of 40; it has vertebrae_S1', code=code)
    refused(tmp_path, {**L3, 'label': None}, match='several labels.*label:', code=code)
    refused(tmp_path, L3, {**L3, 'name': 'again'}, match="'again': 0% .*another body", code=code)


def test_a_mesh_becomes_a_body_of_its_material_that_displaces_soft_tissue(tmp_path):
    write_mesh(tmp_path / 'ball.stl', ball())
    found = load_bodies(write_bodies(tmp_path, implant_entry()), attenuation())
    body = found['implant']
    assert body.is_metal and body.material.name == 'titanium'
    expected = ball().volume * (body.material.attenuation_per_mm - SOFT)
    assert total(body.volume) == pytest.approx(expected, rel=0.01)
    np.testing.assert_allclose(body.volume.centre, ball().centroid, atol=0.5)
    assert trimesh.Trimesh(body.mesh.vertices, body.mesh.faces).volume == pytest.approx(
        ball().volume
    )
    # What was dense there, parts of both blocks, is soft tissue now.
    i, j, k = 18, 15, 13
    assert attenuation().mu[k, j, i] > 1.9 * SOFT and found.rest.mu[k, j, i] == pytest.approx(SOFT)


def test_a_mesh_has_coordinates_of_its_own_where_the_file_says_how_it_lies(tmp_path):
    surface = ball()
    ct_from_body = np.diag([-1.0, -1.0, 1.0, 1.0])
    ct_from_body[:3, 3] = (1.0, 2.0, 3.0)
    surface.apply_transform(np.linalg.inv(ct_from_body))
    write_mesh(tmp_path / 'ball.stl', surface)
    prior = {'rotation_deg': 90.0, 'translation_mm': 2.0, 'pivot_lps_mm': [1.0, 2.0, 13.0]}
    entry = implant_entry(ct_from_body=ct_from_body.tolist(), prior=prior)
    body = load_bodies(write_bodies(tmp_path, entry), attenuation())['implant']
    np.testing.assert_allclose(body.volume.centre, surface.centroid, atol=0.5)
    np.testing.assert_array_equal(body.ct_from_body, ct_from_body)
    assert body.prior.pivot_mm == pytest.approx((0, 0, 10))
    assert body.prior.rotation_rad == pytest.approx(np.pi / 2)


def test_a_mesh_in_ras_lies_where_the_ct_has_it(tmp_path):
    surface = ball()
    surface.apply_transform(np.diag([-1.0, -1.0, 1.0, 1.0]))
    write_mesh(tmp_path / 'ball.stl', surface)
    code = ErrorCode.BODY_MESH
    refused(tmp_path, implant_entry(), match='outside of the CT.*space: ras', code=code)
    found = load_bodies(write_bodies(tmp_path, implant_entry(space='ras')), attenuation())
    inside = se3.transform_points(
        found['implant'].ct_from_body, found['implant'].volume.centre[None]
    )
    np.testing.assert_allclose(inside[0], ball().centroid, atol=0.5)


def test_meshes_need_no_ct(tmp_path):
    write_mesh(tmp_path / 'ball.stl', ball(), 0.001)
    entry = implant_entry(material='', attenuation=0.4, unit='m', frame='tool', voxel_mm=1.0)
    del entry['material']
    found = load_bodies(write_bodies(tmp_path, entry), None)
    assert found.rest is None and len(found) == 1 and found['implant'].frame == 'tool'
    assert total(found['implant'].volume) == pytest.approx(0.4 * ball().volume, rel=0.01)
    with pytest.raises(BodyError, match='needs the CT'):
        write_labels(tmp_path)
        load_bodies(write_bodies(tmp_path, L3), None)


def test_parents_come_before_their_children(tmp_path):
    write_labels(tmp_path)
    found = load_bodies(write_bodies(tmp_path, {**L3, 'parent': 'S1'}, S1), attenuation())
    assert [body.name for body in found] == ['S1', 'L3'] and found['L3'].parent == 'S1'
    assert found['S1'].parent is None


@pytest.mark.parametrize(
    ('bodies', 'match'),
    [
        ([], 'lists no bodies'),
        ([{'label': 3}], 'body 1 has no name'),
        ([L3, L3], "two bodies have the name 'L3'"),
        ([{**L3, 'frame': 'a'}, {**S1, 'frame': 'a'}], "two bodies have the frame 'a'"),
        ([{**L3, 'parent': 'L4'}], "no parent 'L4'; the bodies are L3"),
        ([{**L3, 'parent': 'S1'}, {**S1, 'parent': 'L3'}], 'parents of L3, S1 lead in a circle'),
        ([{**L3, 'parent': 'L3'}], 'circle'),
        ([{**L3, 'lable': 3}], "'L3': unknown parameter 'lable': did you mean 'label'"),
        ([{**L3, 'prior': {'rotation': 3}}], "did you mean 'prior.rotation_deg'"),
        ([{**L3, 'prior': {'rotation_deg': -3}}], r'prior.rotation_deg must lie in \[0.01, 180\]'),
        ([{**L3, 'prior': {'translation_mm': 'far'}}], 'prior.translation_mm must be'),
        ([{**L3, 'name': 'a/b'}], 'letters, digits and _'),
        ([{**L3, 'name': 3}], "'3'|body 3"),
        ([{'name': 'L3', 'label': 3}], "'L3' has no source"),
        ([{**L3, 'material': 'steel'}], 'material is of meshes'),
        ([implant_entry(label=3)], 'label is of label maps'),
        ([implant_entry(material='')], 'needs a material or an attenuation'),
        ([implant_entry(attenuation=1.0)], 'one of both'),
        ([implant_entry(material='gold')], "no material 'gold'.*titanium"),
        ([implant_entry(unit='km')], 'unit must be one of mm, cm, m, inch'),
        ([implant_entry(ct_from_body=[[1, 0, 0, 0]])], 'ct_from_body'),
        ([implant_entry(ct_from_body=(2 * np.eye(4)).tolist())], 'ct_from_body'),
    ],
)
def test_a_wrong_list_is_refused_and_what_is_wrong_is_named(tmp_path, bodies, match):
    write_labels(tmp_path)
    write_mesh(tmp_path / 'ball.stl', ball())
    refused(tmp_path, *bodies, match=match)


def test_a_wrong_key_of_the_file_is_named(tmp_path):
    write_labels(tmp_path)
    refused(tmp_path, L3, body=3, match="unknown parameter 'body': did you mean 'bodies'")
    refused(tmp_path, L3, source=3, match='source must be the path')


@pytest.mark.parametrize('text', ['[1, 2', 'bodies: {a', '\0', '- 1', '', '\xff', '[' * 3000])
def test_what_is_no_list_of_bodies_is_refused(tmp_path, text):
    path = tmp_path / 'bodies.yaml'
    path.write_bytes(text.encode('latin-1'))
    with pytest.raises(BodyError) as error:
        load_bodies(path, None)
    assert error.value.code == ErrorCode.BODIES_INVALID


def test_files_that_are_missing_or_of_no_known_format_are_refused(tmp_path):
    code = ErrorCode.BODY_UNREADABLE
    with pytest.raises(BodyError, match='cannot be read: No such file'):
        load_bodies(tmp_path / 'none.yaml', None)
    refused(tmp_path, L3, match="'L3': there is no file labels.nii.gz", code=code)
    (tmp_path / 'a.txt').write_text('a')
    refused(tmp_path, {**L3, 'source': 'a.txt'}, match='format of a.txt is not known', code=code)


def test_only_permitted_files_are_read(tmp_path):
    write_labels(tmp_path)

    def permit(path):
        raise ConfigError(ErrorCode.PATH_NOT_ALLOWED, f'not {path.name}')

    with pytest.raises(ConfigError, match='not labels.nii.gz'):
        load_bodies(write_bodies(tmp_path, L3), attenuation(), permit=permit)


def test_a_child_process_gives_the_same_and_its_errors_come_through(tmp_path, without_child):
    write_labels(tmp_path)
    write_mesh(tmp_path / 'ball.stl', ball())
    path, ct = write_bodies(tmp_path, L3, implant_entry()), attenuation()
    expected = load_bodies(path, ct)
    without_child()
    found = load_bodies(path, ct)
    assert found.notes == expected.notes and torch.equal(found.rest.mu, expected.rest.mu)
    for body, other in zip(found, expected, strict=True):
        assert torch.equal(body.volume.mu, other.volume.mu)
    np.testing.assert_array_equal(found['implant'].mesh.faces, expected['implant'].mesh.faces)
    (tmp_path / 'ball.stl').write_bytes(b'solid')
    refused(tmp_path, implant_entry(), match="'implant': ball.stl", code=ErrorCode.BODY_MESH)
