"""Rigid transforms for 3D Slicer, as ITK itself reads them."""

import pytest
import SimpleITK
import torch

from sph_reg_ros.errors import PoseError
from sph_reg_ros.geometry import se3
from sph_reg_ros.geometry.carm import camera_from_ct_for_angles
from sph_reg_ros.geometry.itk_transform import (
    is_itk_transform,
    itk_transform_text,
    parse_itk_transform,
)

ISOCENTRE = torch.tensor([12.0, -170.0, -140.0], dtype=torch.float64)


def pose() -> torch.Tensor:
    return camera_from_ct_for_angles(0.5, -0.2, 700.0, ISOCENTRE)


def itk_points(path, points):
    transform = SimpleITK.ReadTransform(str(path))
    return [transform.TransformPoint(point) for point in points]


def test_itk_reads_what_is_written_and_maps_points_of_the_imager_to_the_ct(tmp_path):
    path = tmp_path / 'ct_to_imager.tfm'
    path.write_text(itk_transform_text(se3.inverse(pose()), ('VERIFIED', 'for people')))
    source, isocentre = itk_points(path, [(0.0, 0.0, 0.0), (0.0, 0.0, 700.0)])
    assert isocentre == pytest.approx(ISOCENTRE.tolist(), abs=1e-9)
    assert source == pytest.approx((-se3.inverse(pose())[:3, :3] @ pose()[:3, 3]).tolist())


def test_an_image_that_itk_resamples_by_it_lies_in_the_imager(tmp_path):
    # One bright voxel in the isocentre must come to lie 700 mm in front of the source.
    ct = SimpleITK.Image(9, 9, 9, SimpleITK.sitkFloat32)
    ct.SetSpacing((4.0, 4.0, 4.0))
    ct.SetOrigin([value - 16.0 for value in ISOCENTRE.tolist()])
    ct[4, 4, 4] = 100.0
    imager = SimpleITK.Image(5, 5, 5, SimpleITK.sitkFloat32)
    imager.SetSpacing((4.0, 4.0, 4.0))
    imager.SetOrigin((-8.0, -8.0, 692.0))
    path = tmp_path / 'ct_to_imager.tfm'
    path.write_text(itk_transform_text(se3.inverse(pose()), ()))
    moved = SimpleITK.Resample(
        ct, imager, SimpleITK.ReadTransform(str(path)), SimpleITK.sitkLinear, 0.0
    )
    assert moved[2, 2, 2] == pytest.approx(100.0, abs=1e-3)
    assert moved[0, 0, 0] == 0.0


def test_a_file_comes_back_as_the_matrix_that_was_written():
    text = itk_transform_text(pose(), ('a comment',))
    assert is_itk_transform(text) and not is_itk_transform('1 0 0 0')
    assert torch.equal(parse_itk_transform(text), pose())


def test_a_transform_about_a_centre_is_read_as_itk_means_it(tmp_path):
    affine = SimpleITK.AffineTransform(3)
    affine.SetMatrix(pose()[:3, :3].flatten().tolist())
    affine.SetTranslation((3.0, -2.0, 5.0))
    affine.SetCenter((10.0, 20.0, -30.0))
    SimpleITK.WriteTransform(affine, str(tmp_path / 'centred.tfm'))
    read = parse_itk_transform((tmp_path / 'centred.tfm').read_text())
    point = torch.tensor([[7.0, 8.0, 9.0]], dtype=torch.float64)
    expected = affine.TransformPoint(point[0].tolist())
    assert se3.transform_points(read, point)[0].tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    'old, new, text',
    [
        ('AffineTransform_double_3_3', 'BSplineTransform_double_3_3', 'BSpline'),
        ('Transform: Aff', 'Something: Aff', 'no transform'),
        ('FixedParameters: 0 0 0', 'FixedParameters: 0 0', 'FixedParameters'),
        ('Parameters: ', 'Parameters: nothing ', 'Parameters'),
    ],
)
def test_other_transforms_and_broken_ones_are_refused(old, new, text):
    with pytest.raises(PoseError, match=text):
        parse_itk_transform(itk_transform_text(pose(), ()).replace(old, new, 1))
