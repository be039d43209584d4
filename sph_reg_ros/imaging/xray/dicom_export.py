"""A rendered X-ray as DICOM, with the geometry that `load_xray` reads back."""

import io
import math

import torch
from jaxtyping import Float64, UInt16
from numpy import ndarray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    ExplicitVRLittleEndian,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    generate_uid,
)
from pydicom.valuerep import DSfloat
from torch import Tensor

from sph_reg_ros.errors import CameraError, ErrorCode
from sph_reg_ros.geometry import Camera
from sph_reg_ros.geometry.carm import angles_from_camera_from_ct, camera_from_ct_for_angles

_LARGEST_ROLL_RAD = math.radians(0.01)
_LETTERS = ('LR', 'PA', 'HF')
_MINOR = 0.25
"""A direction's letter is left out below this share of the first one's component."""
_SAME = 1e-6


def has_carm_angles(camera_from_ct: Float64[Tensor, '4 4']) -> bool:
    """Return whether DICOM's two angles describe a rotation: they know no roll about the beam."""
    angles = angles_from_camera_from_ct(camera_from_ct)
    upright = camera_from_ct_for_angles(*angles, 1.0, torch.zeros(3, dtype=torch.float64))
    turn = camera_from_ct[:3, :3].double() @ upright[:3, :3].T
    return abs(math.atan2(float(turn[1, 0]), float(turn[0, 0]))) < _LARGEST_ROLL_RAD


def dicom_xray(
    counts: UInt16[ndarray, 'H W'],
    camera: Camera,
    sdd_mm: float,
    camera_from_ct: Float64[Tensor, '4 4'],
    source_to_isocentre_mm: float,
    *,
    bright_air: bool = True,
) -> bytes:
    """Return a secondary capture of modality XA: pixels linear in intensity, camera, C-arm angles.

    Angles are left out, as DICOM has none, where the pose is rolled about the beam. Where the
    isocentre lies in the CT is not in the file, as in any XA image.

    Args:
        counts: pixels.
        camera: intrinsics; the image may be mirrored or turned by quarters against the detector.
        sdd_mm: distance from source to detector.
        camera_from_ct: pose (mm).
        source_to_isocentre_mm: less than `sdd_mm`.
        bright_air: whether pixels grow with the intensity.

    Raises:
        CameraError: DICOM cannot describe this camera.
    """
    dataset = _image(counts, bright_air)
    pitch_mm, axes = _pitch_and_axes(camera, sdd_mm)
    dataset.DistanceSourceToDetector = _decimal(sdd_mm)
    dataset.ImagerPixelSpacing = [_decimal(mm) for mm in pitch_mm]
    _add_field_of_view(dataset, camera, pitch_mm)
    if has_carm_angles(camera_from_ct):
        primary, secondary = angles_from_camera_from_ct(camera_from_ct)
        dataset.PositionerType = 'CARM'
        dataset.PositionerPrimaryAngle = _decimal(math.degrees(primary))
        dataset.PositionerSecondaryAngle = _decimal(math.degrees(secondary))
        dataset.DistanceSourceToPatient = _decimal(source_to_isocentre_mm)
        lps_from_camera = camera_from_ct[:3, :3].double().T
        directions = lps_from_camera[:, :2] @ axes.T
        dataset.PatientOrientation = [_letters(direction) for direction in directions.T]
    elif not torch.equal(axes, torch.eye(2, dtype=torch.float64)):
        raise _cannot('a mirrored or turned image of a pose that is rolled about the beam')
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _image(counts: UInt16[ndarray, 'H W'], bright_air: bool) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = MultiFrameGrayscaleWordSecondaryCaptureImageStorage
    dataset.SOPInstanceUID = generate_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.Modality = 'XA'
    dataset.ConversionType = 'SYN'
    dataset.ImageType = ['DERIVED', 'SECONDARY']
    dataset.ImageComments = 'rendered from a CT by sph_reg_ros; research use only'
    dataset.PatientName, dataset.PatientID = '', ''
    dataset.SamplesPerPixel = 1
    dataset.NumberOfFrames = 1
    dataset.PhotometricInterpretation = 'MONOCHROME2'
    dataset.Rows, dataset.Columns = counts.shape
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 0
    dataset.PixelIntensityRelationship = 'LIN'
    dataset.PixelIntensityRelationshipSign = 1 if bright_air else -1
    low, high = int(counts.min()), int(counts.max())
    dataset.WindowCenter = _decimal((low + high) / 2)
    dataset.WindowWidth = _decimal(max(high - low, 1))
    dataset.PixelData = counts.astype('<u2').tobytes()
    return dataset


def _pitch_and_axes(
    camera: Camera, sdd_mm: float
) -> tuple[tuple[float, float], Float64[Tensor, '2 2']]:
    """Return the spacing of rows and columns, and where columns and rows point in the camera."""
    focal = camera.K[:2, :2].norm(dim=1)
    axes = camera.K[:2, :2] / focal[:, None]
    rounded = axes.round()
    if float((axes - rounded).abs().max()) > _SAME or float(rounded.abs().sum()) != 2:
        raise _cannot('pixels that are oblique')
    column_mm, row_mm = (sdd_mm / focal).tolist()
    # Adding 0 turns -0 into 0.
    return (row_mm, column_mm), rounded + 0.0


def _add_field_of_view(dataset: Dataset, camera: Camera, pitch_mm: tuple[float, float]) -> None:
    """Place the image on a detector whose middle is the principal point, unless it is centred."""
    column, row = camera.K[:2, 2].tolist()
    if math.hypot(column - (camera.width - 1) / 2, row - (camera.height - 1) / 2) < _SAME:
        return
    active, origin = [], []
    for point, pixels, mm in (
        (row, camera.height, pitch_mm[0]),
        (column, camera.width, pitch_mm[1]),
    ):
        # From the image's first edge, which is half a pixel before the first centre.
        side = max(point + 0.5, pixels - point - 0.5)
        active.append(_decimal(2 * side * mm))
        origin.append(_decimal(side - point - 0.5))
    dataset.DetectorActiveDimensions = active
    dataset.DetectorActiveOrigin = [0, 0]
    dataset.DetectorElementSpacing = [_decimal(mm) for mm in pitch_mm]
    dataset.FieldOfViewOrigin = origin


def _letters(direction: Float64[Tensor, '3']) -> str:
    """Return PatientOrientation's letters of a direction in LPS, the largest part first."""
    parts = sorted(zip(direction.tolist(), _LETTERS, strict=True), key=lambda part: -abs(part[0]))
    largest = abs(parts[0][0])
    return ''.join(letters[value < 0] for value, letters in parts if abs(value) >= _MINOR * largest)


def _decimal(number: float) -> DSfloat:
    return DSfloat(number, auto_format=True)


def _cannot(what: str) -> CameraError:
    return CameraError(
        ErrorCode.CAMERA_INVALID,
        f'DICOM cannot describe {what}: write PNG or TIFF, and keep the camera file with it',
    )
