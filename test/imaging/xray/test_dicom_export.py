"""Rendered X-rays as DICOM: what is written is read back with its geometry."""

import math
from itertools import product

import numpy as np
import pydicom
import pytest
import torch
from xray_files import gradient

from sph_reg_ros.errors import CameraError
from sph_reg_ros.geometry import Camera, se3
from sph_reg_ros.geometry.carm import camera_from_ct_for_angles
from sph_reg_ros.imaging.xray.dicom_export import dicom_xray, has_carm_angles
from sph_reg_ros.imaging.xray.read import parse_xray

SIZE, SDD, SOD = (24, 32), 1020.0, 700.0
ORIGIN = torch.zeros(3, dtype=torch.float64)


def pose_at(primary: float, secondary: float) -> torch.Tensor:
    return camera_from_ct_for_angles(math.radians(primary), math.radians(secondary), SOD, ORIGIN)


def written(path, camera: Camera, pose: torch.Tensor, **more):
    path.write_bytes(dicom_xray(gradient(camera.size), camera, SDD, pose, SOD, **more))
    return parse_xray(path)


@pytest.mark.parametrize(
    'primary, secondary',
    [*product((-170, -91, -45, -12.3, 0, 33, 90, 135, 180), (-40, -5, 0, 25)), (10, 80), (0, -60)],
)
def test_every_view_comes_back_with_its_camera_and_its_angles(tmp_path, primary, secondary):
    pose = pose_at(primary, secondary)
    camera = Camera.from_geometry(SDD, (1.5, 1.3), SIZE, (13.25, 14.5))
    for turns, mirrored in product(range(4), (False, True)):
        turned = camera.flip(horizontal=mirrored).rotate90(turns)
        xray = written(tmp_path / 'drr.dcm', turned, pose)
        assert torch.allclose(xray.camera.K, turned.K, atol=1e-6)
        assert xray.camera.size == turned.size
        assert torch.allclose(xray.camera_from_ct, pose, atol=1e-7)
        assert xray.warnings == ()


def test_pixels_come_back_and_are_linear_in_intensity(tmp_path):
    camera = Camera.from_geometry(SDD, (1.4, 1.4), SIZE)
    for bright in (True, False):
        xray = written(tmp_path / 'drr.dcm', camera, pose_at(5, 5), bright_air=bright)
        assert np.array_equal(xray.pixels.numpy(), gradient(SIZE))
        assert (xray.intensity.kind, xray.intensity.bright_air) == ('beer_lambert', bright)
    dataset = pydicom.dcmread(tmp_path / 'drr.dcm')
    assert dataset.Modality == 'XA' and list(dataset.ImageType) == ['DERIVED', 'SECONDARY']
    assert 'FieldOfViewOrigin' not in dataset


def test_a_pose_that_is_rolled_has_no_angles_in_the_file(tmp_path):
    roll = se3.exp(torch.tensor([0, 0, 0.05, 0, 0, 0], dtype=torch.float64))
    pose = roll @ pose_at(20, 10)
    assert has_carm_angles(pose_at(20, 10)) and not has_carm_angles(pose)
    camera = Camera.from_geometry(SDD, (1.4, 1.4), SIZE)
    xray = written(tmp_path / 'drr.dcm', camera, pose)
    assert xray.camera_from_ct is None
    assert torch.allclose(xray.camera.K, camera.K, atol=1e-6)
    with pytest.raises(CameraError, match='rolled'):
        written(tmp_path / 'drr.dcm', camera.flip(horizontal=True), pose)


def test_oblique_pixels_are_refused(tmp_path):
    K = torch.tensor([[700.0, 100, 15], [0, 700, 11], [0, 0, 1]], dtype=torch.float64)
    with pytest.raises(CameraError, match='oblique'):
        written(tmp_path / 'drr.dcm', Camera(K, *SIZE), pose_at(0, 0))
