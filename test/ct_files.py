"""Writers of small CT files; row, column and slice spacing always differ."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pydicom.valuerep import DSfloat

PATIENT_NAME = 'Planted^Name'
PATIENT_ID = 'PLANTED-ID-7'

Edit = Callable[[int, Dataset], object]


@dataclass(frozen=True)
class Phantom:
    """Hounsfield units [K, J, I] and the map from (i, j, k, 1) to LPS mm."""

    hounsfield: np.ndarray
    ct_from_index: np.ndarray

    def stored_as(self, axes: tuple[int, int, int], flips: tuple[bool, bool, bool]) -> 'Phantom':
        """Return the same world in another order of storage; axes count i, j, k as 0, 1, 2."""
        values = self.hounsfield.T.transpose(axes)
        affine = self.ct_from_index[:, [*axes, 3]].copy()
        for axis in np.flatnonzero(flips):
            affine[:, 3] += affine[:, axis] * (values.shape[axis] - 1)
            affine[:, axis] *= -1
            values = np.flip(values, axis)
        return Phantom(np.ascontiguousarray(values.T), affine)


def numbered_phantom(
    shape: tuple[int, int, int] = (5, 6, 7),
    spacing: tuple[float, float, float] = (0.7, 0.9, 2.5),
    rotation: np.ndarray | None = None,
    origin: tuple[float, float, float] = (-31.5, 12.25, -7.5),
) -> Phantom:
    """Return a phantom [K, J, I] of which every voxel has another value."""
    values = np.arange(np.prod(shape), dtype=np.int16).reshape(shape) - 100
    affine = np.eye(4)
    affine[:3, :3] = (np.eye(3) if rotation is None else rotation) * np.array(spacing)
    affine[:3, 3] = origin
    return Phantom(values, affine)


def write_volume(path: Path, phantom: Phantom) -> Path:
    """Write a volume file by SimpleITK; the suffix decides the format."""
    image = SimpleITK.GetImageFromArray(phantom.hounsfield)
    spacing = np.linalg.norm(phantom.ct_from_index[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(phantom.ct_from_index[:3, 3].tolist())
    image.SetDirection((phantom.ct_from_index[:3, :3] / spacing).ravel().tolist())
    SimpleITK.WriteImage(image, str(path))
    return path


def write_dicom(
    folder: Path,
    phantom: Phantom,
    *,
    edit: Edit = lambda k, dataset: None,
    skip: tuple[int, ...] = (),
    uid: str | None = None,
) -> Path:
    """Write one file a slice, except those in `skip`; `edit(k, dataset)` may change it.

    File names and instance numbers follow a shuffled order, and names hold the patient's name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    order = np.random.default_rng(3).permutation(len(phantom.hounsfield))
    uid = uid or generate_uid()
    for k, number in enumerate(order.tolist()):
        dataset = slice_dataset(phantom, k, uid)
        dataset.InstanceNumber = int(order[-1 - k])
        edit(k, dataset)
        if k not in skip:
            path = folder / f'{PATIENT_NAME}_{uid[-6:]}_{number:03d}'
            dataset.save_as(path, enforce_file_format=True)
    return folder


def slice_dataset(phantom: Phantom, k: int, uid: str) -> Dataset:
    """Return slice k as a CT image of 16 bit unsigned values with intercept -1024."""
    affine = phantom.ct_from_index
    column_mm, row_mm, _ = np.linalg.norm(affine[:3, :3], axis=0)
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, generate_uid()
    dataset.Modality, dataset.SeriesInstanceUID, dataset.SeriesDescription = 'CT', uid, 'Thorax 2.5'
    dataset.PatientName, dataset.PatientID = PATIENT_NAME, PATIENT_ID
    dataset.PixelSpacing = decimals([row_mm, column_mm])
    dataset.ImagePositionPatient = decimals(affine[:3, 3] + k * affine[:3, 2])
    cosines = np.concatenate([affine[:3, 0] / column_mm, affine[:3, 1] / row_mm])
    dataset.ImageOrientationPatient = decimals(cosines)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, 'MONOCHROME2'
    dataset.Rows, dataset.Columns = phantom.hounsfield.shape[1:]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelRepresentation = 0
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
    stored = phantom.hounsfield[k].astype(np.int32) + 1024
    dataset.PixelData = stored.astype('<u2').tobytes()
    return dataset


def decimals(values: np.ndarray | list[float]) -> list[DSfloat]:
    """Return DICOM decimal strings of at most 16 characters."""
    return [DSfloat(float(value), auto_format=True) for value in values]
