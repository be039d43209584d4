"""Camera and nominal pose of DICOM X-rays: markers must land where the detector shows them."""

import itertools

import numpy as np
import pytest
import torch
from pydicom.dataset import Dataset
from xray_files import PaintedDetector, gradient, write_xa

from sph_reg_ros.errors import CameraError, ErrorCode, ImageError
from sph_reg_ros.geometry import Camera
from sph_reg_ros.imaging import load
from sph_reg_ros.imaging.xray.given_geometry import GivenGeometry
from sph_reg_ros.imaging.xray.read import parse_xray

MOUNTS = [((-1, 0), (0, 1)), ((1, 0), (0, 1)), ((0, 1), (1, 0)), ((0, -1), (1, 0))]
MARKER = np.array([31.0, -17.0, 23.0])


def projected(xray, point):
    in_camera = xray.camera_from_ct @ torch.tensor([*point, 1.0], dtype=torch.float64)
    return xray.camera.project(in_camera[:3]).numpy()


def painted_pixel(image):
    row, column = np.unravel_index(image.argmax(), image.shape)
    return np.array([column, row])


@pytest.mark.parametrize('mount', MOUNTS)
@pytest.mark.parametrize('angles', [(0, 0), (30, 20), (-75, 10), (140, -35), (-20, 60)])
def test_a_marker_lands_on_its_pixel_for_every_rotation_and_flip(tmp_path, angles, mount):
    for turns, mirrored in itertools.product(range(4), (False, True)):
        detector = PaintedDetector(*angles, mount, (20, 35, 250, 170), turns, mirrored)
        image = detector.image_of(MARKER)
        xray = parse_xray(write_xa(tmp_path / 'a.dcm', image, **detector.tags()))
        error = projected(xray, MARKER) - painted_pixel(xray.pixels.numpy())
        assert abs(error).max() <= 0.51, (turns, mirrored, detector.orientation())
        assert xray.warnings == ()


def test_the_usual_display_at_zero_angles_is_mirrored_against_the_view_from_the_source(tmp_path):
    xray = parse_xray(write_xa(tmp_path / 'a.dcm', gradient()))
    left, head = projected(xray, [10, 0, 0]), projected(xray, [0, 0, 10])
    centre = projected(xray, [0, 0, 0])
    # 1000 / 700 magnification on 0.5 mm pixels.
    assert left - centre == pytest.approx([10 / 0.7 / 0.5, 0])
    assert head - centre == pytest.approx([0, -10 / 0.7 / 0.5])
    assert centre == pytest.approx([15.5, 11.5])
    assert torch.det(xray.camera.K) < 0


def test_a_crop_moves_the_principal_point_off_the_image_centre(tmp_path):
    detector = PaintedDetector(crop=(40, 0, 200, 100))
    xray = parse_xray(write_xa(tmp_path / 'a.dcm', detector.image_of(MARKER), **detector.tags()))
    assert xray.camera.K[:2, 2].tolist() == pytest.approx([119.5, 109.5])


def test_rows_and_columns_of_unequal_spacing_are_not_swapped(tmp_path):
    xray = parse_xray(write_xa(tmp_path / 'a.dcm', gradient(), ImagerPixelSpacing=[0.25, 0.5]))
    assert xray.camera.K[0, 0] == pytest.approx(-1000 / 0.5)
    assert xray.camera.K[1, 1] == pytest.approx(1000 / 0.25)


def test_binning_scales_the_field_of_view_origin_where_no_element_spacing_is_given(tmp_path):
    tags = dict(
        ImagerPixelSpacing=[0.8, 0.8], DetectorBinning=[2, 2], FieldOfViewOrigin=[10, 20],
        FieldOfViewRotation=0, FieldOfViewHorizontalFlip='NO', DetectorActiveDimensions=[40, 48],
    )  # fmt: skip
    xray = parse_xray(write_xa(tmp_path / 'a.dcm', gradient(), **tags))
    # Centre of the detector: (24, 20) mm; corner of the field: (20 x 0.4, 10 x 0.4) mm.
    expected = [(24 - 8) / 0.8 - 0.5, (20 - 4) / 0.8 - 0.5]
    assert xray.camera.K[:2, 2].tolist() == pytest.approx(expected)


def test_an_origin_without_the_detectors_size_is_taken_as_centred_and_said_so(tmp_path):
    tags = dict(FieldOfViewOrigin=[10, 20], FieldOfViewRotation=0, FieldOfViewHorizontalFlip='NO')
    xray = parse_xray(write_xa(tmp_path / 'a.dcm', gradient(), **tags))
    assert xray.camera.K[:2, 2].tolist() == [15.5, 11.5]
    assert len(xray.warnings) == 1 and '(0018,7026)' in xray.warnings[0]


def test_the_uncorrected_spacing_is_used_where_the_other_was_calibrated(tmp_path):
    xray = parse_xray(write_xa(tmp_path / 'a.dcm', gradient(), PixelSpacing=[0.35, 0.35]))
    assert xray.camera.focal_length == pytest.approx(2000)


def test_pixel_spacing_alone_is_used_with_a_warning(tmp_path):
    path = write_xa(
        tmp_path / 'a.dcm', gradient(), drop=('ImagerPixelSpacing',), PixelSpacing=[0.5, 0.5]
    )
    xray = parse_xray(path)
    assert xray.camera.focal_length == pytest.approx(2000)
    assert len(xray.warnings) == 1 and '(0018,1164)' in xray.warnings[0]


@pytest.mark.parametrize(
    'tags',
    [
        dict(PixelSpacingCalibrationType='GEOMETRY'),
        dict(DetectorElementSpacing=[0.5, 0.5]),
        dict(DetectorElementSpacing=[0.175, 0.175], DetectorBinning=[4, 4]),
    ],
)
def test_a_calibrated_pixel_spacing_is_refused_as_a_stand_in(tmp_path, tags):
    path = write_xa(
        tmp_path / 'a.dcm', gradient(), drop=('ImagerPixelSpacing',), PixelSpacing=[0.35, 0.35],
        **tags,
    )  # fmt: skip
    with pytest.raises(CameraError, match='0018,1164') as caught:
        parse_xray(path)
    assert caught.value.code == ErrorCode.CAMERA_UNCALIBRATED


@pytest.mark.parametrize(
    ('tags', 'code', 'named'),
    [
        (dict(DistanceSourceToDetector=None), ErrorCode.CAMERA_MISSING, '0018,1110'),
        (dict(DistanceSourceToDetector=0), ErrorCode.CAMERA_UNCALIBRATED, '0018,1110'),
        (dict(DistanceSourceToPatient=1100), ErrorCode.CAMERA_INVALID, '0018,1111'),
        (dict(ImagerPixelSpacing=None), ErrorCode.CAMERA_MISSING, '0018,1164'),
        (dict(ImagerPixelSpacing=[0.5, 0]), ErrorCode.CAMERA_INVALID, '0018,1164'),
        (dict(ImagerPixelSpacing=[0.5, 0.5, 0.5]), ErrorCode.CAMERA_INVALID, 'has 3 values, not 2'),
        (
            dict(SharedFunctionalGroupsSequence=[Dataset()]),
            ErrorCode.CAMERA_MISSING,
            'Enhanced XA',
        ),
        (
            # From the front, neither rows nor columns run along the beam.
            dict(PositionerPrimaryAngle=None, ViewPosition='AP', PatientOrientation=['A', 'F']),
            ErrorCode.CAMERA_INVALID,
            '0018,5101',
        ),
        (dict(FieldOfViewRotation=45), ErrorCode.CAMERA_INVALID, '0018,7032'),
        (dict(DetectorPrimaryAngle=5), ErrorCode.CAMERA_INVALID, '0018,1530'),
        (dict(PatientOrientation=['A', 'F']), ErrorCode.CAMERA_INVALID, '0020,0020'),
        (dict(PatientOrientation=['L', 'L']), ErrorCode.CAMERA_INVALID, '0020,0020'),
        (dict(PatientOrientation=['L', 'X']), ErrorCode.CAMERA_INVALID, '0020,0020'),
        (dict(PositionerSecondaryAngle=95), ErrorCode.CAMERA_INVALID, 'secondary'),
        (
            dict(FieldOfViewOrigin=[90, 0], DetectorActiveDimensions=[50, 50]),
            ErrorCode.CAMERA_INVALID,
            '0018,7030',
        ),
    ],
)
def test_missing_or_contradictory_geometry_is_refused_by_its_tag(tmp_path, tags, code, named):
    path = write_xa(tmp_path / 'a.dcm', gradient(), **tags)
    with pytest.raises(CameraError, match=named) as caught:
        parse_xray(path)
    assert caught.value.code == code
    assert parse_xray(path, camera=load_xray_camera(tmp_path)).camera is not None


def load_xray_camera(tmp_path):
    return parse_xray(write_xa(tmp_path / 'good.dcm', gradient())).camera


def test_without_the_distance_to_the_patient_there_is_a_camera_but_no_pose(tmp_path):
    path = write_xa(tmp_path / 'a.dcm', gradient(), drop=('DistanceSourceToPatient',))
    xray = parse_xray(path)
    assert xray.camera is not None and xray.camera_from_ct is None
    assert '(0018,1111)' in xray.warnings[0]


def test_angles_of_another_positioner_than_a_c_arm_are_no_pose(tmp_path):
    for kind in ('CARM', 'COLUMN'):
        xray = parse_xray(write_xa(tmp_path / 'a.dcm', gradient(), PositionerType=kind))
        assert (xray.camera_from_ct is None) == (kind == 'COLUMN')


def test_without_patient_orientation_the_usual_display_is_assumed_and_said_so(tmp_path):
    told = parse_xray(write_xa(tmp_path / 'a.dcm', gradient()))
    assumed = parse_xray(write_xa(tmp_path / 'b.dcm', gradient(), drop=('PatientOrientation',)))
    assert torch.equal(told.camera.K, assumed.camera.K) and told.warnings == ()
    assert '(0020,0020)' in assumed.warnings[0]


@pytest.mark.parametrize(
    ('orientation', 'view', 'mirrored'),
    [
        (['L', 'F'], 'PA', True),
        (['L', 'F'], 'AP', False),
        (['R', 'F'], 'PA', False),
        ([], 'PA', True),
        # Seen from the right of the patient, head up, the chest is on the right.
        (['A', 'F'], 'LL', False),
        (['P', 'F'], 'LL', True),
        (['A', 'F'], 'RL', True),
        (['L', 'F'], '', False),
    ],
)
def test_a_radiograph_without_angles_has_a_camera_whose_mirroring_follows_the_view(
    tmp_path, orientation, view, mirrored
):
    path = write_xa(
        tmp_path / 'a.dcm', gradient(), drop=('PositionerPrimaryAngle',), Modality='DX',
        PatientOrientation=orientation, ViewPosition=view,
    )  # fmt: skip
    xray = parse_xray(path)
    assert xray.camera_from_ct is None
    assert (torch.det(xray.camera.K) < 0) == mirrored
    assert len(xray.warnings) == (1 if view else 2)


@pytest.mark.parametrize(
    ('increments', 'expected_deg'),
    [(dict(), 10), (dict(PositionerPrimaryAngleIncrement=[2.0]), 14),
     (dict(PositionerPrimaryAngleIncrement=[0.0, 3.0, 7.0]), 17),
     (dict(PositionerPrimaryAngleIncrement=[2.0], PositionerMotion='STATIC'), 10)],
)  # fmt: skip
def test_the_angles_of_a_frame_follow_the_increments(tmp_path, increments, expected_deg):
    frames = gradient((3, 24, 32))
    path = write_xa(tmp_path / 'a.dcm', frames, PositionerPrimaryAngle=10, **increments)
    xray = parse_xray(path, frame=2)
    still = PaintedDetector(expected_deg, 0)
    other = parse_xray(
        write_xa(tmp_path / 'b.dcm', gradient(), PositionerPrimaryAngle=still.primary_deg)
    )
    torch.testing.assert_close(xray.camera_from_ct, other.camera_from_ct)
    assert torch.equal(xray.pixels, torch.from_numpy(frames[2].astype(np.float32)))


def test_increments_of_another_number_than_the_frames_are_refused(tmp_path):
    path = write_xa(
        tmp_path / 'a.dcm', gradient((3, 24, 32)), PositionerPrimaryAngleIncrement=[0.0, 3.0]
    )
    with pytest.raises(CameraError, match='0018,1520'):
        parse_xray(path)


def test_the_orientation_of_a_rotational_run_is_that_of_its_first_frame(tmp_path):
    frames = gradient((2, 24, 32))
    path = write_xa(tmp_path / 'a.dcm', frames, PositionerPrimaryAngleIncrement=[0.0, 90.0])
    first, last = parse_xray(path, frame=0), parse_xray(path, frame=1)
    assert torch.equal(first.camera.K, last.camera.K)
    assert not torch.allclose(first.camera_from_ct, last.camera_from_ct)


PLAIN = dict(PositionerPrimaryAngle=12, PositionerSecondaryAngle=5)
MISSING = {
    'sdd_mm': ('DistanceSourceToDetector', 1000.0),
    'pixel_pitch_mm': ('ImagerPixelSpacing', (0.5, 0.5)),
    'sod_mm': ('DistanceSourceToPatient', 700.0),
    'angles_deg': ('PositionerPrimaryAngle', (12.0, 5.0)),
}


def assert_same_geometry(xray, other):
    assert torch.allclose(xray.camera.K, other.camera.K)
    assert torch.allclose(xray.camera_from_ct, other.camera_from_ct)


@pytest.mark.parametrize('option', MISSING)
@pytest.mark.parametrize('stated', ['nothing', 'nothing usable'])
def test_what_is_given_completes_the_file(tmp_path, option, stated):
    keyword, value = MISSING[option]
    whole = parse_xray(write_xa(tmp_path / 'whole.dcm', gradient(), **PLAIN))
    if stated == 'nothing':
        path = write_xa(tmp_path / 'a.dcm', gradient(), drop=(keyword,), **PLAIN)
    else:
        zero = [0, 0] if option == 'pixel_pitch_mm' else 0
        unusable = {} if option == 'angles_deg' else {keyword: zero}
        path = write_xa(tmp_path / 'a.dcm', gradient(), **{**PLAIN, **unusable})
    xray = parse_xray(path, given=GivenGeometry(**{option: value}))
    assert_same_geometry(xray, whole)
    assert not any('given' in warning for warning in xray.warnings)


def test_in_a_child_process_what_is_given_counts_just_so(tmp_path):
    whole = parse_xray(write_xa(tmp_path / 'whole.dcm', gradient(), **PLAIN))
    path = write_xa(tmp_path / 'a.dcm', gradient(), drop=('ImagerPixelSpacing',), **PLAIN)
    given = GivenGeometry(pixel_pitch_mm=(0.5, 0.5), angles_deg=(12.0, 5.0))
    assert_same_geometry(load.load_xray(path, given=given), whole)


@pytest.mark.parametrize(
    ('given', 'both'),
    [
        (dict(sdd_mm=1100.0), ('1000 mm', '1100 mm')),
        (dict(pixel_pitch_mm=(0.5, 0.4)), ('0.5 0.5 mm', '0.5 0.4 mm')),
        (dict(sod_mm=650.0), ('700 mm', '650 mm')),
        (dict(angles_deg=(20.0, 5.0)), ('LAO 12 / CRAN 5', 'LAO 20 / CRAN 5')),
    ],
)
def test_what_is_given_goes_before_the_file_and_both_are_named(tmp_path, given, both):
    path = write_xa(tmp_path / 'a.dcm', gradient(), **PLAIN)
    stated, xray = parse_xray(path), parse_xray(path, given=GivenGeometry(**given))
    (warning,) = xray.warnings
    assert all(text in warning for text in both)
    changed = GivenGeometry(**given)
    if changed.makes_camera or changed.sdd_mm or changed.pixel_pitch_mm:
        assert not torch.allclose(xray.camera.K, stated.camera.K)
    else:
        assert torch.allclose(xray.camera.K, stated.camera.K)
        assert not torch.allclose(xray.camera_from_ct, stated.camera_from_ct)
    # The mirroring stays that of the file.
    assert xray.camera.K[0, 0] < 0 < xray.camera.K[1, 1]


def test_a_given_principal_point_replaces_the_detectors_centre(tmp_path):
    path = write_xa(tmp_path / 'a.dcm', gradient(), **PLAIN)
    K = parse_xray(path, given=GivenGeometry(principal_point=(3.0, 4.0))).camera.K
    assert K[:2, 2].tolist() == [3.0, 4.0]


def test_a_pixel_spacing_with_a_magnification_is_taken_for_no_detectors(tmp_path):
    tags = dict(PixelSpacing=[0.35, 0.35], EstimatedRadiographicMagnificationFactor=1.43)
    path = write_xa(tmp_path / 'a.dcm', gradient(), drop=('ImagerPixelSpacing',), **tags)
    with pytest.raises(CameraError, match='ImagerPixelSpacing'):
        parse_xray(path)
    assert parse_xray(path, given=GivenGeometry(pixel_pitch_mm=(0.5, 0.5))).camera is not None


def test_a_camera_of_the_users_leaves_the_files_angles_as_a_start(tmp_path):
    path = write_xa(tmp_path / 'a.dcm', gradient(), drop=('DistanceSourceToDetector',), **PLAIN)
    camera = Camera.from_geometry(1000.0, (0.5, 0.5), gradient().shape)
    whole = parse_xray(write_xa(tmp_path / 'whole.dcm', gradient(), **PLAIN))
    assert torch.allclose(parse_xray(path, camera=camera).camera_from_ct, whole.camera_from_ct)


@pytest.mark.parametrize(
    'given', [dict(sdd_mm=1.02), dict(sod_mm=0.7), dict(pixel_pitch_mm=(0.0014, 0.0014))]
)
def test_metres_are_refused_with_that_question(given):
    with pytest.raises(CameraError, match='metres'):
        GivenGeometry(**given)


def test_an_isocentre_behind_the_detector_is_refused():
    with pytest.raises(CameraError, match='smaller than'):
        GivenGeometry(sdd_mm=700.0, sod_mm=1000.0)


def test_the_capture_of_a_c_arm_is_read_with_a_camera(tmp_path):
    path = write_xa(
        tmp_path / 'a.dcm', gradient(), Modality='OT',
        drop=('ImagerPixelSpacing', 'DistanceSourceToDetector', 'PatientOrientation'),
    )  # fmt: skip
    with pytest.raises(CameraError) as caught:
        parse_xray(path)
    assert caught.value.code == ErrorCode.CAMERA_MISSING
    xray = parse_xray(path, camera=Camera.from_geometry(1000.0, (0.5, 0.5), gradient().shape))
    assert any('Modality' in warning for warning in xray.warnings)


def test_a_file_with_several_frames_says_which_one_is_used(tmp_path):
    path = write_xa(tmp_path / 'a.dcm', np.stack([gradient()] * 3))
    assert 'frame 0 of 0 to 2 is used' in parse_xray(path).warnings
    assert 'frame 2 of 0 to 2 is used' in parse_xray(path, frame=2).warnings
    with pytest.raises(ImageError, match='3 frames'):
        parse_xray(path, frame=3)
