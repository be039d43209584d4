"""Localizers of several makers: where their headers say that the source and the pixels are."""

import numpy as np
import pytest
import torch
from localizer_files import (
    AP,
    FRONTAL,
    ISOCENTRE,
    LATERAL,
    MAKERS,
    SIDE,
    SIZE,
    SOURCE_MM,
    SPACING_MM,
    Shot,
    localizer_dataset,
    philips,
    siemens,
    standard,
    write_study,
)
from pydicom import dcmread
from pydicom.uid import generate_uid

from sph_reg_ros.errors import CTError, ErrorCode, ImageError
from sph_reg_ros.geometry import se3
from sph_reg_ros.imaging.ct.localizer import described, parse_localizers, source_direction
from sph_reg_ros.imaging.load import load_ct, load_localizers
from sph_reg_ros.imaging.localizer import Localizer

SHOTS = {'frontal': FRONTAL, 'lateral': SIDE}
PIXELS, USABLE = np.zeros(SIZE, np.float32), np.ones(SIZE, bool)


def read(dataset, pixels=PIXELS, usable=USABLE):
    return described(dataset, pixels, usable)


def seen(localizer: Localizer, point: np.ndarray) -> np.ndarray:
    in_camera = se3.transform_points(localizer.camera_from_ct, torch.from_numpy(point)[None])
    return localizer.camera.project(in_camera)[0].numpy()


def expected(shot: Shot, point: np.ndarray) -> np.ndarray:
    """Where the ray through a point, from the source of its row, meets the image plane."""
    row = (point - shot.position) @ shot.row_step / SPACING_MM[0]
    source = ISOCENTRE + SOURCE_MM * shot.source
    ahead = point - source
    at = source + ahead * SOURCE_MM / (ahead @ -shot.source)
    return np.array([(at - shot.position) @ shot.column_step / SPACING_MM[1], row])


@pytest.mark.parametrize('shot', SHOTS.values(), ids=SHOTS)
@pytest.mark.parametrize('maker', MAKERS.values(), ids=MAKERS)
def test_a_point_shows_where_the_fan_of_its_row_puts_it(maker, shot):
    stored = read(localizer_dataset(shot, maker))
    localizer = Localizer.of(stored)
    if maker is siemens:
        assert stored.source_side == 0 and not localizer.side_known
        sides = (localizer, localizer.other_side)
        right = [s for s in sides if np.allclose(s.camera_from_ct[2, :3], -shot.source)]
        assert len(right) == 1
        localizer = right[0]
    for offset in ((0, 0, 0), (37.0, -21.0, 55.0), (-30.0, 40.0, -71.0)):
        point = ISOCENTRE + offset
        assert np.allclose(seen(localizer, point), expected(shot, point), atol=1e-3)
    assert float(torch.linalg.det(localizer.camera_from_ct)) == pytest.approx(1)


@pytest.mark.parametrize('shot', SHOTS.values(), ids=SHOTS)
def test_both_sides_show_the_plane_through_the_isocentre_alike(shot):
    localizer = Localizer.of(read(localizer_dataset(shot, standard)))
    in_plane = ISOCENTRE + 30 * shot.column_step - 40 * shot.row_step
    other = localizer.other_side
    assert np.allclose(seen(localizer, in_plane), seen(other, in_plane))
    beside = in_plane + 50 * shot.source
    assert abs(seen(localizer, beside) - seen(other, beside))[0] > 1


def test_a_localizer_shown_sideways_is_turned_until_its_rows_follow_the_table():
    upright = localizer_dataset(FRONTAL, standard)
    pixels = np.arange(np.prod(SIZE), dtype=np.float32).reshape(SIZE)
    sideways = localizer_dataset(FRONTAL, standard)
    sideways.ImageOrientationPatient = [0, 0, -1, 1, 0, 0]
    sideways.PixelSpacing = list(SPACING_MM[::-1])
    sideways.Rows, sideways.Columns = SIZE[::-1]
    turned = described(sideways, pixels.T.copy(), USABLE.T)
    assert np.array_equal(turned.pixels, pixels)
    point = ISOCENTRE + (20.0, 30.0, -40.0)
    found = [seen(Localizer.of(s), point) for s in (read(upright, pixels), turned)]
    assert np.allclose(*found)


@pytest.mark.parametrize(
    ('position', 'angle', 'direction'),
    [
        ('HFS', 0, AP),
        ('HFS', 90, LATERAL),
        ('HFS', 180, -AP),
        ('FFS', 90, -LATERAL),
        ('HFP', 0, -AP),
        ('HFP', 90, -LATERAL),
        ('FFP', 90, LATERAL),
        ('HFDR', 0, LATERAL),
        ('HFDR', 90, -AP),
    ],
)
def test_the_tube_turns_clockwise_as_seen_from_the_table(position, angle, direction):
    assert np.allclose(source_direction(angle, position), direction, atol=1e-12)


def test_an_unknown_position_of_the_patient_tells_no_side():
    assert source_direction(90, '') is None
    dataset = localizer_dataset(SIDE, standard)
    del dataset.PatientPosition
    stored = read(dataset)
    assert stored.source_side == 0 and 'PatientPosition (0018,5100)' in ' '.join(stored.notes)


def test_what_is_missing_is_said():
    dataset = localizer_dataset(SIDE, siemens)
    del dataset.DistanceSourceToPatient
    notes = ' '.join(read(dataset).notes)
    assert 'DistanceSourceToPatient (0018,1111) is missing: 570 mm' in notes
    assert 'AngularPosition (0018,1141)' in notes
    assert read(localizer_dataset(SIDE, standard)).notes == ()


def test_rows_from_edge_to_edge_lie_half_a_row_further():
    stored = read(localizer_dataset(SIDE, philips))
    assert np.allclose(stored.position, SIDE.position)
    assert 'edges' in ' '.join(stored.notes)


def test_an_angle_that_contradicts_the_orientation_tells_no_side():
    dataset = localizer_dataset(SIDE, standard)
    dataset.TubeAngle = 0.0
    stored = read(dataset)
    assert stored.source_side == 0 and 'does not fit' in ' '.join(stored.notes)


def test_an_oblique_image_is_no_line_scan():
    dataset = localizer_dataset(SIDE, standard)
    dataset.ImageOrientationPatient = [0, 1, 0, 0.6, 0, -0.8]
    with pytest.raises(ImageError, match='follow the table'):
        read(dataset)


def test_a_study_gives_its_localizers_and_says_which_it_leaves_out(tmp_path):
    stranger = localizer_dataset(SIDE, standard)
    stranger.PatientID = 'OTHER'
    elsewhere = localizer_dataset(SIDE, standard)
    elsewhere.FrameOfReferenceUID = generate_uid()
    nowhere = localizer_dataset(SIDE, standard)
    del nowhere.ImagePositionPatient
    padded = localizer_dataset(FRONTAL, philips)
    padded.PixelPaddingValue = 0
    study = write_study(tmp_path, padded, stranger, elsewhere, nowhere)
    (found,), left_out = load_localizers(study)
    assert found.line_integrals.shape == SIZE and found.name.startswith('AP or PA')
    assert torch.equal(found.usable, found.line_integrals > 0) and not bool(found.usable.all())
    assert [text.split(': ')[1] for text in left_out] == [
        'it has another patient than the CT',
        'it has another frame of reference than the CT',
        'file 4 of the series',
    ]
    assert load_ct(study).hounsfield.shape == (62, 52, 60)
    pixels, _ = parse_localizers(study)
    assert pixels[0].source_side == 1


def test_a_localizer_in_the_series_of_the_slices_does_not_disturb_them(tmp_path):
    scout = localizer_dataset(SIDE, standard)
    study = write_study(tmp_path)
    files = sorted((study / 'axial').iterdir())
    scout.SeriesInstanceUID = dcmread(files[0]).SeriesInstanceUID
    scout.save_as(study / 'axial' / 'scout', enforce_file_format=True)
    assert load_ct(study).hounsfield.shape == (62, 52, 60)
    assert len(load_localizers(study)[0]) == 1


def test_a_volume_file_has_no_localizers(tmp_path):
    path = tmp_path / 'ct.nii.gz'
    path.write_bytes(b'')
    with pytest.raises(CTError, match='DICOM folders') as error:
        load_localizers(path)
    assert error.value.code == ErrorCode.CT_UNREADABLE
