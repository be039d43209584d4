"""Pixels, masks and intensity of DICOM X-rays, and files that are none."""

import hashlib

import numpy as np
import pydicom
import pytest
import torch
from pydicom.dataset import Dataset
from xray_files import PATIENT_ID, gradient, write_xa

from sph_reg_ros.errors import CameraError, ErrorCode, ImageError, RegistrationError
from sph_reg_ros.imaging.xray.intensity import IntensityModel, line_integrals
from sph_reg_ros.imaging.xray.read import parse_xray


def test_pixels_and_the_hash_of_the_patient_are_read(tmp_path):
    xray = parse_xray(write_xa(tmp_path / 'no_suffix', gradient()))
    assert torch.equal(xray.pixels, torch.from_numpy(gradient().astype(np.float32)))
    assert xray.patient_hash == hashlib.sha256(PATIENT_ID.encode()).hexdigest()[:16]
    assert bool(xray.mask.all())


def test_eight_bit_pixels_are_read(tmp_path):
    pixels = (gradient() % 250).astype(np.uint8)
    assert parse_xray(write_xa(tmp_path / 'a.dcm', pixels)).pixels.max() == pixels.max()


def test_rescaling_is_applied(tmp_path):
    path = write_xa(tmp_path / 'a.dcm', gradient(), RescaleSlope=2, RescaleIntercept=-50)
    assert parse_xray(path).pixels[0, 0] == 2 * 100 - 50


@pytest.mark.parametrize(
    ('tags', 'kind', 'bright_air', 'warns'),
    [
        (dict(), 'beer_lambert', True, False),
        (dict(PixelIntensityRelationshipSign=-1), 'beer_lambert', False, False),
        (dict(PixelIntensityRelationship='DISP'), 'beer_lambert', True, True),
        (
            dict(PixelIntensityRelationship='DISP', PhotometricInterpretation='MONOCHROME1'),
            'beer_lambert',
            False,
            True,
        ),
        (dict(PixelIntensityRelationship='', Modality='CR'), 'beer_lambert', False, True),
        (
            dict(PixelIntensityRelationship='', Modality='DX', PixelIntensityRelationshipSign=1),
            'beer_lambert',
            True,
            True,
        ),
    ],
)
def test_the_header_says_what_the_pixels_are(tmp_path, tags, kind, bright_air, warns):
    xray = parse_xray(write_xa(tmp_path / 'a.dcm', gradient(), **tags))
    assert xray.intensity == IntensityModel(kind, None, bright_air)
    assert any('(0028,1040)' in warning for warning in xray.warnings) == warns


@pytest.mark.parametrize('sign', [None, 1, -1])
def test_logarithmic_pixels_become_line_integrals_up_to_scale_and_offset(tmp_path, sign):
    attenuation = np.linspace(0, 5, 24 * 32).reshape(24, 32)
    stored = 60000 - 10000 * attenuation if sign != -1 else 1000 + 10000 * attenuation
    path = write_xa(
        tmp_path / 'a.dcm', stored.astype(np.uint16), PixelIntensityRelationship='LOG',
        PixelIntensityRelationshipSign=sign,
    )  # fmt: skip
    xray = parse_xray(path)
    found = line_integrals(xray.pixels, xray.intensity).numpy()
    assert np.corrcoef(found.ravel(), attenuation.ravel())[0, 1] > 0.99999


def test_padding_is_masked(tmp_path):
    pixels = gradient()
    pixels[:3] = 7
    pixels[3] = 9
    path = write_xa(tmp_path / 'a.dcm', pixels, PixelPaddingValue=7, RescaleSlope=2,
                    RescaleIntercept=0)  # fmt: skip
    assert torch.equal(parse_xray(path).mask, torch.from_numpy(pixels != 7))
    path = write_xa(tmp_path / 'a.dcm', pixels, PixelPaddingValue=7, PixelPaddingRangeLimit=9)
    assert torch.equal(parse_xray(path).mask, torch.from_numpy(pixels > 9))


def test_padding_with_a_wrong_sign_is_masked_as_in_a_ct(tmp_path):
    pixels = gradient()
    pixels[:3] = 63536
    path = write_xa(tmp_path / 'a.dcm', pixels)
    dataset = pydicom.dcmread(path)
    dataset.add_new('PixelPaddingValue', 'SS', -2000)
    dataset.save_as(path)
    assert torch.equal(parse_xray(path).mask, torch.from_numpy(pixels != 63536))


def test_a_screen_capture_in_colour_is_read_if_it_is_grey(tmp_path):
    pixels = (gradient() % 250).astype(np.uint8)
    tags = dict(
        SamplesPerPixel=3, PhotometricInterpretation='RGB', PlanarConfiguration=0,
        Rows=24, Columns=32, NumberOfFrames=1, Modality='OT',
    )  # fmt: skip
    colours = np.repeat(pixels[..., None], 3, axis=2)
    xray = parse_xray(write_xa(tmp_path / 'a.dcm', colours, **tags))
    assert torch.equal(xray.pixels, torch.from_numpy(pixels.astype(np.float32)))
    colours[3, 4, 0] ^= 128
    with pytest.raises(ImageError, match='colour') as caught:
        parse_xray(write_xa(tmp_path / 'a.dcm', colours, **tags))
    assert caught.value.code == ErrorCode.IMAGE_ENCODING


def test_a_bitmap_shutter_closes_nothing(tmp_path):
    path = write_xa(tmp_path / 'a.dcm', gradient(), ShutterShape='BITMAP')
    assert bool(parse_xray(path).mask.all())


def test_a_modality_lut_leads_back_to_values_linear_in_intensity(tmp_path):
    table, stored = Dataset(), gradient() % 16
    table.LUTDescriptor, table.LUTData = [16, 0, 16], [5 * n for n in range(16)]
    table['LUTDescriptor'].VR = table['LUTData'].VR = 'US'
    tags = dict(ModalityLUTSequence=[table], PixelIntensityRelationship='LOG')
    xray = parse_xray(write_xa(tmp_path / 'a.dcm', stored, **tags))
    assert torch.equal(xray.pixels, torch.from_numpy(5 * stored.astype(np.float32)))
    assert xray.intensity == IntensityModel('beer_lambert')
    del table.LUTDescriptor
    with pytest.raises(ImageError, match='0028,3000') as caught:
        parse_xray(write_xa(tmp_path / 'a.dcm', stored, **tags))
    assert caught.value.code == ErrorCode.IMAGE_ENCODING


@pytest.mark.parametrize('name', ['Shutter', 'Collimator'])
def test_a_rectangular_and_a_circular_shutter_are_masked_together(tmp_path, name):
    tags = {
        f'{name}Shape': ['RECTANGULAR', 'CIRCULAR'],
        f'{name}UpperHorizontalEdge': 3, f'{name}LowerHorizontalEdge': 20,
        f'{name}LeftVerticalEdge': 5, f'{name}RightVerticalEdge': 31,
        f'CenterOfCircular{name}': [12, 16], f'RadiusOfCircular{name}': 11,
    }  # fmt: skip
    mask = parse_xray(write_xa(tmp_path / 'a.dcm', gradient(), **tags)).mask.numpy()
    row, column = np.indices(mask.shape) + 1
    rectangle = (row >= 3) & (row <= 20) & (column >= 5) & (column <= 31)
    assert (mask == (rectangle & (np.hypot(row - 12, column - 16) <= 11))).all()


def test_a_polygonal_shutter_is_masked(tmp_path):
    tags = dict(ShutterShape='POLYGONAL', VerticesOfThePolygonalShutter=[2, 2, 2, 30, 22, 2])
    mask = parse_xray(write_xa(tmp_path / 'a.dcm', gradient(), **tags)).mask.numpy()
    row, column = np.indices(mask.shape) + 1
    inside = (row - 2) / 20 + (column - 2) / 28
    assert mask[(inside < 0.95) & (row > 2) & (column > 2)].all()
    assert not mask[(inside > 1.05) | (row < 2) | (column < 2)].any()


@pytest.mark.parametrize(
    ('tags', 'named'),
    [
        (dict(ShutterShape='RECTANGULAR', ShutterUpperHorizontalEdge=3), '0018,1608'),
        (dict(ShutterShape='CIRCULAR', RadiusOfCircularShutter=3), '0018,1610'),
        (
            dict(ShutterShape='RECTANGULAR', ShutterUpperHorizontalEdge=[3, 4]),
            '0018,1606.* has 2 values, not 1',
        ),
        (dict(CollimatorShape='POLYGONAL', VerticesOfThePolygonalCollimator=[1, 2]), '0018,1720'),
    ],
)
def test_a_shutter_without_its_size_is_refused_by_its_tag(tmp_path, tags, named):
    with pytest.raises(ImageError, match=named):
        parse_xray(write_xa(tmp_path / 'a.dcm', gradient(), **tags))


def test_a_shutter_that_leaves_nothing_is_refused(tmp_path):
    tags = dict(
        ShutterShape='CIRCULAR', CenterOfCircularShutter=[1, 900], RadiusOfCircularShutter=3
    )
    with pytest.raises(ImageError) as caught:
        parse_xray(write_xa(tmp_path / 'a.dcm', gradient(), **tags))
    assert caught.value.code == ErrorCode.IMAGE_CONTENT


@pytest.mark.parametrize('keep', [0, 3, 140, 300, -200])
def test_a_file_that_is_cut_off_is_refused_wherever_it_ends(tmp_path, keep):
    path = write_xa(tmp_path / 'a.dcm', gradient())
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ImageError) as caught:
        parse_xray(path)
    assert caught.value.code == ErrorCode.IMAGE_UNREADABLE


@pytest.mark.parametrize(
    ('tags', 'code'),
    [
        (dict(Modality='CT'), ErrorCode.IMAGE_UNREADABLE),
        (dict(PhotometricInterpretation='PALETTE COLOR'), ErrorCode.IMAGE_ENCODING),
        (dict(RescaleSlope=0, RescaleIntercept=5), ErrorCode.IMAGE_ENCODING),
        (dict(BitsAllocated=12), ErrorCode.IMAGE_UNREADABLE),
        (dict(Rows=0), ErrorCode.IMAGE_UNREADABLE),
    ],
)
def test_what_is_no_grey_xray_is_refused(tmp_path, tags, code):
    with pytest.raises(ImageError) as caught:
        parse_xray(write_xa(tmp_path / 'a.dcm', gradient(), **tags))
    assert caught.value.code == code


@pytest.mark.parametrize('frame', [-1, 1])
def test_a_frame_that_is_not_there_is_refused(tmp_path, frame):
    with pytest.raises(ImageError) as caught:
        parse_xray(write_xa(tmp_path / 'a.dcm', gradient()), frame=frame)
    assert caught.value.code == ErrorCode.IMAGE_LAYOUT


def test_a_camera_of_another_size_is_refused(tmp_path):
    camera = parse_xray(write_xa(tmp_path / 'a.dcm', gradient())).camera.crop(0, 0, 5, 5)
    with pytest.raises(CameraError) as caught:
        parse_xray(tmp_path / 'a.dcm', camera=camera)
    assert caught.value.code == ErrorCode.CAMERA_IMAGE_MISMATCH


def test_random_damage_gives_an_xray_or_a_typed_error_that_never_names_the_patient(
    tmp_path, caplog, recwarn
):
    path = write_xa(tmp_path / 'a.dcm', gradient())
    good = path.read_bytes()
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        damaged = bytearray(good)
        for place in random.integers(132, len(good) - gradient().nbytes, 4):
            damaged[place] = random.integers(256)
        path.write_bytes(damaged)
        try:
            parse_xray(path)
        except RegistrationError as error:
            refused += 1
            assert 'SECRET' not in str(error).upper()
    assert refused > 0
    assert not caplog.records and not recwarn.list


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ImageError) as caught:
        parse_xray(tmp_path / 'none.dcm')
    assert caught.value.code == ErrorCode.IMAGE_UNREADABLE
