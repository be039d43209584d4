"""Writes small DICOM projection images, and paints what a C-arm's detector would show."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, XRayAngiographicImageStorage

PATIENT_ID = 'SECRET-4711'


def write_xa(path: Path, frames: np.ndarray, *, drop: tuple[str, ...] = (), **tags) -> Path:
    """Write frames [H, W] or [N, H, W] (uint8, uint16) as XA; tags add to or replace the header."""
    frames = np.asarray(frames)
    bits = frames.dtype.itemsize * 8
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = XRayAngiographicImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = '1.2.3.4'
    header = dict(
        SOPClassUID=XRayAngiographicImageStorage, SOPInstanceUID='1.2.3.4', Modality='XA',
        PatientID=PATIENT_ID, PatientName='Secret^Name', SamplesPerPixel=1,
        PhotometricInterpretation='MONOCHROME2', Rows=frames.shape[-2], Columns=frames.shape[-1],
        BitsAllocated=bits, BitsStored=bits, HighBit=bits - 1, PixelRepresentation=0,
        PixelIntensityRelationship='LIN', ImagerPixelSpacing=[0.5, 0.5],
        DistanceSourceToDetector=1000, DistanceSourceToPatient=700,
        PositionerPrimaryAngle=0, PositionerSecondaryAngle=0, PatientOrientation=['L', 'F'],
        PixelData=frames.tobytes(),
    )  # fmt: skip
    if frames.ndim == 3:
        header['NumberOfFrames'] = len(frames)
    for keyword, value in {**header, **tags}.items():
        if keyword not in drop:
            setattr(dataset, keyword, value)
    dataset.save_as(path, enforce_file_format=True)
    return path


def gradient(shape: tuple[int, ...] = (24, 32)) -> np.ndarray:
    """Return pixels that differ from each other, below 16 bit saturation."""
    return (np.arange(np.prod(shape)) * 7 % 60000 + 100).astype(np.uint16).reshape(shape)


def beam_and_axes(primary_deg: float, secondary_deg: float) -> np.ndarray:
    """Return the rows (x, y, z) of the optical frame in LPS, by turning the gantry step by step."""
    a, b = np.deg2rad([primary_deg, secondary_deg])
    tilt = np.array([[1, 0, 0], [0, np.cos(b), np.sin(b)], [0, -np.sin(b), np.cos(b)]])
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    at_rest = np.array([[-1, 0, 0], [0, 0, -1], [0, -1, 0]])
    return np.array([turn @ tilt @ axis for axis in at_rest])


@dataclass(frozen=True)
class PaintedDetector:
    """A detector array that is turned into a stored image as a device does: crop, rotate, flip.

    Attributes:
        primary_deg, secondary_deg: the C-arm's angles.
        mount: 2 x 2 signed permutation, camera (x, y) to detector (right, down).
        crop: top, left, height, width in detector elements.
        turns: clockwise quarter turns.
        mirrored: horizontal flip afterwards.
    """

    primary_deg: float = 0.0
    secondary_deg: float = 0.0
    mount: tuple[tuple[int, int], tuple[int, int]] = ((-1, 0), (0, 1))
    crop: tuple[int, int, int, int] = (0, 0, 300, 240)
    turns: int = 0
    mirrored: bool = False
    elements: tuple[int, int] = (300, 240)
    spacing: tuple[float, float] = (0.8, 1.0)
    sid: float = 1000.0
    sod: float = 700.0

    def element_of(self, point_lps: np.ndarray) -> np.ndarray:
        """Return (row, column) of the detector element, fractional, that a point falls on."""
        axes = beam_and_axes(self.primary_deg, self.secondary_deg)
        from_source = np.asarray(point_lps, float) + self.sod * axes[2]
        x, y, z = axes @ from_source
        right, down = np.array(self.mount) @ (np.array([x, y]) * self.sid / z)
        middle = (np.array(self.elements) - 1) / 2
        return middle + np.array([down, right]) / self.spacing

    def store(self, detector: np.ndarray) -> np.ndarray:
        """Return the stored image of a detector array."""
        top, left, height, width = self.crop
        image = np.rot90(detector[top : top + height, left : left + width], -self.turns)
        return np.ascontiguousarray(image[:, ::-1] if self.mirrored else image)

    def image_of(self, point_lps: np.ndarray) -> np.ndarray:
        """Return the stored image with the element painted that a point falls on."""
        detector = np.full(self.elements, 100, np.uint16)
        row, column = np.rint(self.element_of(point_lps)).astype(int)
        detector[row, column] = 5000
        return self.store(detector)

    def stored_spacing(self) -> list[float]:
        """Return ImagerPixelSpacing of the stored image."""
        return list(self.spacing if self.turns % 2 == 0 else self.spacing[::-1])

    def orientation(self) -> list[str]:
        """Return PatientOrientation, read off how the image of a point moves with the point."""
        words = ['', '']
        fields = [self.store(f) for f in np.indices(self.elements).astype(float)]
        down = [f[1, 0] - f[0, 0] for f in fields]
        right = [f[0, 1] - f[0, 0] for f in fields]
        for place, direction in enumerate((right, down)):
            moves = []
            for axis, letters in zip(np.eye(3), ('LR', 'PA', 'HF'), strict=True):
                moved = (self.element_of(axis) - self.element_of(-axis)) * self.spacing
                moves.append((float(moved @ direction), letters))
            amount, letters = max(moves, key=lambda move: abs(move[0]))
            words[place] = letters[0] if amount > 0 else letters[1]
        return words

    def tags(self) -> dict:
        """Return the header of the stored image."""
        return dict(
            ImagerPixelSpacing=self.stored_spacing(),
            DetectorElementSpacing=list(self.spacing),
            DetectorActiveDimensions=[
                n * s for n, s in zip(self.elements, self.spacing, strict=True)
            ],
            DetectorActiveOrigin=[0, 0],
            FieldOfViewOrigin=list(self.crop[:2]),
            FieldOfViewRotation=90 * self.turns,
            FieldOfViewHorizontalFlip='YES' if self.mirrored else 'NO',
            PositionerPrimaryAngle=self.primary_deg,
            PositionerSecondaryAngle=self.secondary_deg,
            PatientOrientation=self.orientation(),
            DistanceSourceToDetector=self.sid,
            DistanceSourceToPatient=self.sod,
        )
