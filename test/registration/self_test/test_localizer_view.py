"""What of a localizer is compared with the CT."""

import pytest
import torch
from cli_files import attenuation_of
from localizer_files import ISOCENTRE, SIDE, body, described_localizer

from sph_reg_ros.errors import ErrorCode, SolverError
from sph_reg_ros.geometry import se3
from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.registration.self_test.localizer_view import as_sharp_as, compared_part
from sph_reg_ros.registration.self_test.scanner_error import ScannerError

VOLUME = attenuation_of(body())


def test_rows_near_the_ends_of_the_ct_are_not_compared():
    localizer = described_localizer(SIDE)
    part = compared_part(VOLUME, localizer)
    # 62 slices of 3.2 mm less 20 mm at either end, in rows of 2 mm.
    assert part.view.camera.height == pytest.approx((62 * 3.2 - 40) / 2, abs=1.1)
    assert part.view.mask.any() and not part.view.mask.all()


def test_the_cut_camera_sees_every_point_where_the_whole_one_does():
    localizer = described_localizer(SIDE)
    part = compared_part(VOLUME, localizer)
    points = torch.from_numpy(ISOCENTRE) + torch.randn(5, 3).double() * 40
    before = localizer.camera.project(se3.transform_points(localizer.camera_from_ct, points))
    after = part.whole_camera.project(se3.transform_points(part.stated, points))
    assert torch.allclose(before, after, atol=1e-6)
    assert float(part.view.camera.K[1, 2]) == (part.view.camera.height - 1) / 2


def test_a_ct_beside_the_localizer_is_refused():
    affine = VOLUME.ct_from_index.clone()
    affine[2, 3] += 150
    away = AttenuationVolume(VOLUME.mu, affine)
    with pytest.raises(SolverError, match='in common') as error:
        compared_part(away, described_localizer(SIDE))
    assert error.value.code == ErrorCode.NO_OVERLAP


def test_a_sharpened_image_becomes_as_smooth_as_the_other_where_it_is():
    torch.manual_seed(0)
    noise = torch.nn.functional.avg_pool2d(torch.randn(1, 1, 90, 120), 5, 1, 2)[0, 0]
    blurred = torch.nn.functional.avg_pool2d(noise[None, None], 9, 1, 4)[0, 0]
    sharpened = noise + 2 * (noise - blurred)
    found = as_sharp_as(sharpened, noise)
    before, after = (torch.corrcoef(torch.stack([x.flatten(), noise.flatten()]))[0, 1]
                     for x in (sharpened, found))  # fmt: skip
    assert before < 0.97 and after > 0.99


@pytest.mark.parametrize('axis', range(6))
def test_each_part_of_an_error_has_its_own_name(axis):
    localizer = described_localizer(SIDE)
    twist = torch.zeros(6, dtype=torch.float64)
    twist[axis] = 0.02 if axis < 3 else 1.5
    pose = se3.apply_twist(twist, localizer.camera_from_ct, VOLUME.centre)
    error = ScannerError.between(pose, localizer.camera_from_ct, VOLUME.centre)
    angle = pytest.approx(1.1459, abs=1e-3)
    none = pytest.approx(0, abs=1e-6)
    assert error.out_of_plane_deg == (angle if axis < 2 else none)
    assert error.in_plane_deg == (angle if axis == 2 else none)
    shifts = (error.across_mm, error.along_table_mm, error.along_beam_mm)
    assert shifts == tuple(pytest.approx(float(mm), abs=1e-6) for mm in twist[3:])
    # A turn of 1.15 degrees in the plane is more than a header can be wrong by.
    assert error.agrees == (axis != 2)
