"""Writers of small label maps, meshes and lists of bodies."""

from pathlib import Path

import numpy as np
import pydicom
import torch
import trimesh
import yaml
from ct_files import Phantom, write_dicom, write_volume
from pydicom.uid import generate_uid

from sph_reg_ros.errors import ErrorCode
from sph_reg_ros.geometry.carm import camera_from_ct_for_angles
from sph_reg_ros.imaging.attenuation import AttenuationVolume, attenuation_from_hounsfield
from sph_reg_ros.imaging.bodies.body import Bodies
from sph_reg_ros.imaging.ct.volume import CT
from sph_reg_ros.registration.error_parts import ErrorParts
from sph_reg_ros.registration.result import (
    BodyResult,
    Check,
    RegistrationResult,
    TerminationReason,
    Verdict,
    Verification,
)

SHAPE = (24, 30, 36)
BLOCKS = {26: slice(3, 9), 29: slice(12, 20)}
"""Labels, and the slices of their blocks of bone: vertebrae_S1 and vertebrae_L3."""


def ct_phantom() -> Phantom:
    """Return muscle with two blocks of bone, in air; index i runs to the right."""
    hounsfield = np.full(SHAPE, -1000, np.int16)
    hounsfield[1:-1, 2:-2, 2:-2] = 40
    for slices in BLOCKS.values():
        hounsfield[slices, 8:20, 10:26] = 900
    affine = np.diag([-1.2, 1.5, 2.0, 1.0])
    affine[:3, 3] = (120.0, -135.0, 110.0)
    return Phantom(hounsfield, affine)


def label_phantom() -> Phantom:
    """Return the labels of the two blocks on the grid of `ct_phantom`."""
    phantom = ct_phantom()
    labels = np.zeros(SHAPE, np.int16)
    for number, slices in BLOCKS.items():
        labels[slices, 8:20, 10:26] = number
    return Phantom(labels, phantom.ct_from_index)


def attenuation() -> AttenuationVolume:
    phantom = ct_phantom()
    return attenuation_from_hounsfield(CT(phantom.hounsfield, phantom.ct_from_index, 'hash'))


def write_labels(folder: Path, name: str = 'labels.nii.gz', phantom: Phantom | None = None) -> Path:
    return write_volume(folder / name, phantom or label_phantom())


def write_bodies(folder: Path, *bodies: dict, **keys) -> Path:
    path = folder / 'bodies.yaml'
    path.write_text(yaml.safe_dump({'bodies': list(bodies), **keys}))
    return path


def write_mesh(path: Path, mesh: trimesh.Trimesh, scale: float = 1.0) -> Path:
    mesh = mesh.copy()
    mesh.apply_scale(scale)
    mesh.export(path)
    return path


def write_segmentation(folder: Path, names: dict[int, str]) -> Path:
    """Write the labels as DICOM SEG of a CT series that is written, too."""
    import highdicom
    from pydicom.sr.codedict import codes

    labels = label_phantom()
    study, frame = generate_uid(), generate_uid()

    def complete(k, dataset):
        dataset.StudyInstanceUID, dataset.FrameOfReferenceUID = study, frame
        dataset.SliceThickness = 2.0
        for keyword in ('PatientBirthDate', 'PatientSex', 'StudyDate', 'StudyTime', 'StudyID'):
            setattr(dataset, keyword, '')
        for keyword in ('AccessionNumber', 'ReferringPhysicianName', 'PositionReferenceIndicator'):
            setattr(dataset, keyword, '')

    series = write_dicom(folder / 'ct', ct_phantom(), edit=complete)
    sources = [pydicom.dcmread(path) for path in series.iterdir()]
    # Slices in the order of their positions, as the mask has them.
    sources.sort(key=lambda source: float(source.ImagePositionPatient[2]))
    described = [
        highdicom.seg.SegmentDescription(
            number,
            name,
            codes.SCT.AnatomicalStructure,
            codes.SCT.Bone,
            highdicom.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for number, name in enumerate(names.values(), 1)
    ]
    mask = np.zeros(SHAPE, np.uint8)
    for number, label in enumerate(names, 1):
        mask[labels.hounsfield == label] = number
    segmentation = highdicom.seg.Segmentation(
        sources,
        mask,
        highdicom.seg.SegmentationTypeValues.BINARY,
        described,
        highdicom.UID(),
        1,
        highdicom.UID(),
        1,
        'maker',
        'model',
        '1',
        '1',
    )
    path = folder / 'segmentation.dcm'
    segmentation.save_as(path)
    return path


def total(volume: AttenuationVolume) -> float:
    """Return the integral of attenuation over a volume (mm^2)."""
    return float(volume.mu.double().sum() * torch.det(volume.ct_from_index[:3, :3]).abs())


def registration(
    bodies: Bodies, camera_from_ct: torch.Tensor, verdicts: tuple[Verdict, ...]
) -> RegistrationResult:
    """Return a result in which the n-th body has moved by n + 1 mm along x of the CT."""
    found = []
    for n, (body, verdict) in enumerate(zip(bodies, verdicts, strict=True)):
        moved = torch.eye(4, dtype=torch.float64)
        moved[0, 3] = n + 1
        found.append(
            BodyResult(
                name=body.name,
                frame=body.frame,
                camera_from_body=(camera_from_ct @ moved @ body.ct_from_body,),
                moved_from_rest=moved,
                covariance=torch.eye(6, dtype=torch.float64),
                centre_mm=body.volume.centre,
                rotation_rad=0.0,
                translation_mm=n + 1.0,
                verification=verification(verdict),
            )
        )
    return RegistrationResult(
        camera_from_ct=(camera_from_ct,),
        covariance=torch.eye(6, dtype=torch.float64),
        centre_lps_mm=torch.zeros(3, dtype=torch.float64),
        termination=TerminationReason.CONVERGED,
        similarity_before=0.5,
        similarity_after=0.9,
        iterations=7,
        timings_s={'refine': 1.0},
        verification=verification(Verdict.VERIFIED),
        warnings=(),
        backend='torch',
        method='image',
        similarity='ncc',
        runner_up=None,
        bodies=tuple(found),
    )


def verification(verdict: Verdict) -> Verification:
    otherwise = (verdict, ErrorCode.POSE_UNCERTAIN)
    value = 1.0 if verdict == Verdict.VERIFIED else 3.0
    check = Check.at_most('tre_p95_mm', value, 2.0, otherwise)
    return Verification(verdict, (check,), ErrorParts.all_of(0.5), ErrorParts.all_of(value))


def front_pose(volume: AttenuationVolume) -> torch.Tensor:
    """Return camera_from_ct of a view from the front, 700 mm away."""
    return camera_from_ct_for_angles(0.0, 0.0, 700.0, volume.centre)
