"""A replay for the rerun viewer."""

import numpy as np
import pytest
from bags import IMAGES
from cli_files import body

pytest.importorskip('rerun')
pytest.importorskip('skimage')
pytest.importorskip('diffdrr.renderers')

from sph_reg_ros.imaging.ct.volume import CT
from sph_reg_ros.replay.bag_replay import ReplayJob
from sph_reg_ros.replay.params_file import read_parameters
from sph_reg_ros.replay.record import record_from_json
from sph_reg_ros.replay.recording import surface, write_recording


def test_the_surface_lies_on_the_bones_in_patient_coordinates():
    phantom = body()
    points, triangles = surface(CT(phantom.hounsfield, phantom.ct_from_index, ''))
    bones = np.argwhere(phantom.hounsfield > 250)[:, ::-1]
    affine = phantom.ct_from_index
    bones_mm = bones @ affine[:3, :3].T + affine[:3, 3]
    margin = np.abs(np.diag(affine)[:3])
    assert (points.min(0) > bones_mm.min(0) - margin).all()
    assert (points.max(0) < bones_mm.max(0) + margin).all()
    assert len(triangles) > 100 and triangles.max() < len(points)


def test_a_ct_of_air_has_no_surface():
    air = np.full((4, 5, 6), -1000, np.int16)
    points, triangles = surface(CT(air, np.eye(4), ''))
    assert len(points) == len(triangles) == 0


def test_a_recording_holds_patient_imager_and_image_at_every_stamp(
    replay_folder, bag, ct, tmp_path
):
    record = record_from_json((replay_folder / 'record.json').read_text())
    parameters = read_parameters(None, [f'ct.path:={ct}'])
    path = write_recording(record, ReplayJob(bag, tmp_path, parameters))
    rows = {}
    for chunk in pytest.importorskip('rerun.chunk').RrdReader(path).stream().to_chunks():
        name = str(chunk.entity_path)
        rows[name] = rows.get(name, 0) + chunk.num_rows
    assert rows['/world/patient/ct'] == 1
    for name in ('/world/patient', '/world/imager', '/world/imager/detector/image'):
        assert rows[name] == IMAGES
