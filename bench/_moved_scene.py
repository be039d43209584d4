"""X-rays of patients in whom something moved since the CT, by DiffDRR's Siddon.

A vertebra or a femur moves by itself, chest wall and diaphragm move as in half a breath, or nothing
moves but gas and contrast medium are elsewhere.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import nibabel
import numpy as np
import torch
from bodies import BONE_HU, DATA, FIELD_MM, SDD_MM, SIZE_PX, SOD_MM, SOFT
from torch import Tensor

from sph_reg_ros.evaluation.disturbances import Disturbances, draw_disturbances
from sph_reg_ros.evaluation.exposure import take_xray
from sph_reg_ros.evaluation.path_cache import PathIntegrals
from sph_reg_ros.geometry import Camera, se3
from sph_reg_ros.geometry.carm import camera_from_ct_for_angles
from sph_reg_ros.imaging.attenuation import AttenuationVolume, attenuation_from_hounsfield
from sph_reg_ros.imaging.load import load_ct
from sph_reg_ros.imaging.sample_ct import sample_ct_path
from sph_reg_ros.imaging.xray.intensity import IntensityModel
from sph_reg_ros.imaging.xray.prepare import prepare_xray
from sph_reg_ros.registration.view import View
from sph_reg_ros.rendering.reference.siddon import signed_path_integrals

KINDS = ('vertebra', 'femur', 'breath', 'still', 'gas', 'contrast')
STILL = ('still', 'gas', 'contrast')
"""Nothing has moved."""
SHIFT_MM, FLEXION_DEG, BREATH_MM = 5.0, 10.0, 5.0
START_DEG, START_MM = 3.0, 5.0
Motion = Callable[[Tensor], Tensor]
"""From where points of the CT lay then to where they are now, CT coordinates (mm)."""


@dataclass(frozen=True)
class Patient:
    """A CT with its labels.

    Attributes:
        name: of it.
        ct_path: file of the CT.
        mask_path: file of its label map.
        vertebrae: numbers of the labels that move, by name.
        has_femur: whether there is a femur (with a nail, by which it is found).
    """

    name: str
    ct_path: Path
    mask_path: Path
    vertebrae: dict[str, int]
    has_femur: bool = False

    @cached_property
    def volume(self) -> AttenuationVolume:
        """Return the CT as it is registered."""
        return attenuation_from_hounsfield(self._ct)

    @cached_property
    def _ct(self):
        return load_ct(self.ct_path)

    @cached_property
    def hounsfield(self) -> np.ndarray:
        """Return the CT's voxels, air outside."""
        return np.maximum(self._ct.hounsfield.astype(np.float32), -1000.0)

    @cached_property
    def ct_from_index(self) -> Tensor:
        """Return the CT's affine."""
        return torch.as_tensor(self._ct.ct_from_index).double()

    @cached_property
    def labels(self) -> np.ndarray:
        """Return the label map [K, J, I] on the CT's grid."""
        return np.asarray(nibabel.load(self.mask_path).dataobj).T

    @cached_property
    def femur(self) -> np.ndarray:
        """Return the femur's voxels: bone and metal around the nail."""
        metal = torch.from_numpy(self.hounsfield > 1800).float()[None]
        pool = torch.nn.functional.max_pool3d
        thick = -pool(-metal, 3, 1, 1)
        nail = metal * pool(thick, 31, 1, 15)
        near = pool(nail, 11, 1, 5)[0].numpy() > 0
        return near & (self.hounsfield > 100)

    @cached_property
    def spine(self) -> Tensor:
        """Return the middle of the vertebrae, CT coordinates (mm)."""
        return self.centre_of(np.isin(self.labels, list(self.vertebrae.values())))

    def centre_of(self, mask: np.ndarray) -> Tensor:
        """Return the middle of a mask, CT coordinates (mm)."""
        index = torch.from_numpy(np.argwhere(mask).mean(0)[::-1].copy())
        return se3.transform_points(self.ct_from_index, index[None])[0]


def patients(data: Path = DATA) -> Iterator[Patient]:
    """Yield those whose data is there."""
    lumbar = 'lumbar-pelvis_totalsegmentator-example_3mm'
    chest = {'T9': 36, 'T10': 35, 'T11': 34, 'T12': 33}
    spine = {'L1': 31, 'L2': 30, 'L3': 29, 'L4': 28}
    ct, mask = data / f'{lumbar}.nii.gz', data / f'{lumbar}_vertebrae26-33.nii.gz'
    for patient in (
        Patient('chest', sample_ct_path(), sample_ct_path().parent / 'mask.nii.gz', chest),
        Patient('lumbar', ct, mask, spine, has_femur=True),
    ):
        if patient.ct_path.is_file() and patient.mask_path.is_file():
            yield patient


@dataclass(frozen=True)
class MovedCase:
    """X-rays from the front and from the side of a patient in whom something may have moved.

    Attributes:
        patient: name of the CT.
        kind: one of KINDS.
        number: of the case.
        disturbed: whether the X-rays have the disturbances of `bench/register.py`.
        moved: name of the label that moved by itself, '' if none did.
        views: X-rays; their imager poses are right.
        truths: camera_from_ct of each, of what did not move.
        start: pose that the registration begins with.
        motion: where points of a label are now.
    """

    patient: str
    kind: str
    number: int
    disturbed: bool
    moved: str
    views: tuple[View, ...]
    truths: tuple[Tensor, ...]
    start: Tensor
    motion: Callable[[str, Tensor], Tensor]


def case_of(patient: Patient, kind: str, number: int) -> MovedCase:
    """Make the X-rays of a case; the same every time."""
    generator = np.random.default_rng([KINDS.index(kind), number])
    names = list(patient.vertebrae)
    name = names[number % len(names)]
    signed, extra, motion, moved = _changed(patient, kind, name, generator)
    centre = patient.spine
    if kind == 'femur':
        centre = centre + (patient.centre_of(patient.femur) - centre) * torch.tensor(
            [0.5, 0.0, 0.8]
        )
    disturbed = number % 2 == 1
    views, truths = [], []
    for angle in (0.0, 90.0):
        around = math.radians(angle + generator.uniform(-15, 15))
        tilt = math.radians(generator.uniform(-10, 10))
        truth = camera_from_ct_for_angles(around, tilt, SOD_MM, centre)
        view = xray_of(patient, truth, disturbed, generator, signed, extra)
        views.append(replace(view, fixed_from_camera=se3.inverse(truth)))
        truths.append(truth)
    twist = _direction(generator, math.radians(START_DEG)), _direction(generator, START_MM)
    start = se3.apply_twist(torch.cat(twist), truths[0], centre)
    return MovedCase(
        patient.name, kind, number, disturbed, moved, tuple(views), tuple(truths), start, motion
    )


def xray_of(
    patient: Patient,
    truth: Tensor,
    disturbed: bool,
    generator: np.random.Generator,
    signed: np.ndarray | None = None,
    extra: 'Extra' = (),
) -> View:
    """Take an X-ray.

    Args:
        patient: whose.
        truth: camera_from_ct.
        disturbed: whether with disturbances.
        generator: of them and of the noise.
        signed: voxels as `_signed` gives them; None: those of the CT.
        extra: bodies beside them.
    """
    camera = Camera.from_geometry(SDD_MM, (FIELD_MM / SIZE_PX,) * 2, (SIZE_PX, SIZE_PX))
    drawn = draw_disturbances(generator) if disturbed else Disturbances()
    voxels = _signed(patient.hounsfield) if signed is None else signed
    counts = take_xray(_integrals(patient, voxels, extra, truth, camera), drawn, generator)
    integrals, mask = prepare_xray(torch.from_numpy(counts.astype(np.float32)), IntensityModel())
    return View(integrals, camera, mask)


Extra = Sequence[tuple[np.ndarray, Tensor, float]]
"""Voxels, where they are in the CT, and how often they count."""


def _changed(patient: Patient, kind: str, name: str, generator: np.random.Generator):
    """Return voxels, bodies beside them, where points are now, and the label that moved."""
    hounsfield = patient.hounsfield
    if kind in ('vertebra', 'femur'):
        inside = patient.femur if kind == 'femur' else patient.labels == patient.vertebrae[name]
        shift = _rigid(patient, kind, inside, generator)
        rest = _signed(hounsfield)
        box = tuple(slice(int(a.min()), int(a.max()) + 1) for a in np.nonzero(inside))
        offset = torch.eye(4).double()
        offset[:3, 3] = torch.tensor([part.start for part in reversed(box)]).double()
        there = shift @ patient.ct_from_index @ offset
        body = np.where(inside[box], rest[box], 0).astype(np.float32)
        hole = inside[box].astype(np.float32) * np.float32(SOFT)
        rest[inside] = SOFT
        moved = 'femur' if kind == 'femur' else name

        def rigidly(label: str, points: Tensor) -> Tensor:
            return se3.transform_points(shift, points) if label == moved else points

        return rest, [(body, there, 1.0), (hole, there, -1.0)], rigidly, moved
    if kind == 'breath':
        amplitude = BREATH_MM * generator.choice([-1.0, 1.0])
        centre = patient.spine

        def breathe(label: str, points: Tensor) -> Tensor:
            return points + _breath(points, centre, amplitude)

        return _signed(_deformed(patient, centre, amplitude)), [], breathe, 'chest wall'
    if kind in ('gas', 'contrast'):
        hounsfield = _with_blobs(patient, -950.0 if kind == 'gas' else 250.0, generator)
    return _signed(hounsfield), [], (lambda label, points: points), ''


def _rigid(patient, kind: str, inside: np.ndarray, generator: np.random.Generator) -> Tensor:
    """Return the motion: a shift with a small turn, or a flexion about the femur's head."""
    eye, centre = torch.eye(4).double(), patient.centre_of(inside)
    if kind == 'femur':
        top = inside & (np.arange(len(inside))[:, None, None] > np.nonzero(inside)[0].max() - 5)
        flexion = math.radians(FLEXION_DEG) * generator.choice([-1.0, 1.0])
        twist = torch.tensor([flexion, 0.0, 0.0, 0.0, 0.0, 0.0]).double()
        return se3.apply_twist(twist, eye, patient.centre_of(top))
    turn = _direction(generator, math.radians(generator.uniform(0, 3)))
    return se3.apply_twist(torch.cat([turn, _direction(generator, SHIFT_MM)]), eye, centre)


def _breath(points: Tensor, spine: Tensor, amplitude_mm: float) -> Tensor:
    """Return the shift of points: the chest wall up and forward, the diaphragm down."""
    away = points - spine
    radius = away[..., :2].norm(dim=-1)
    # The pelvis does not breathe.
    wall = ((radius - 40) / 60).clamp(0, 1) * ((away[..., 2] + 60) / 60).clamp(0, 1)
    dome = torch.exp(-(away[..., 2] / 60).square()) * torch.exp(-((radius - 60) / 35).square())
    zero = torch.zeros_like(wall)
    return amplitude_mm * torch.stack([zero, -0.8 * wall, 0.8 * wall - 1.5 * dome], -1)


def _deformed(patient: Patient, spine: Tensor, amplitude_mm: float) -> np.ndarray:
    """Return the voxels after a breath, taken from where they came from to first order."""
    hounsfield, affine = torch.from_numpy(patient.hounsfield), patient.ct_from_index
    size = torch.tensor(hounsfield.shape[::-1]).double()
    back, slices = torch.linalg.inv(affine), []
    j, i = torch.meshgrid(*(torch.arange(n).double() for n in hounsfield.shape[1:]), indexing='ij')
    for k in range(len(hounsfield)):
        points = se3.transform_points(affine, torch.stack([i, j, torch.full_like(i, k)], -1))
        source = se3.transform_points(back, points - _breath(points, spine, amplitude_mm))
        grid = (2 * source / (size - 1) - 1).float()[None, None]
        slices.append(
            torch.nn.functional.grid_sample(
                hounsfield[None, None], grid, padding_mode='border', align_corners=True
            )[0, 0]
        )
    return torch.cat(slices).numpy()


def _with_blobs(patient: Patient, hounsfield: float, generator: np.random.Generator) -> np.ndarray:
    """Return the CT with gas or contrast in six places of the soft tissue before the spine."""
    changed = patient.hounsfield.copy()
    axes = [torch.arange(n).double() for n in changed.shape]
    k, j, i = torch.meshgrid(*axes, indexing='ij')
    for _ in range(6):
        way = [generator.uniform(-80, 80), generator.uniform(-90, -40), generator.uniform(-80, 80)]
        middle = patient.spine + torch.tensor(way)
        radii = torch.from_numpy(generator.uniform(8, 22, size=3))
        index = se3.transform_points(torch.linalg.inv(patient.ct_from_index), middle[None])[0]
        spacing = patient.ct_from_index[:3, :3].norm(dim=0)
        inside = sum(
            ((axis - at) * step / radius).square()
            for axis, at, step, radius in zip((i, j, k), index, spacing, radii, strict=True)
        )
        soft = (changed > -200) & (changed < 150)
        changed[(inside < 1).numpy() & soft] = hounsfield
    return changed


def _signed(hounsfield: np.ndarray) -> np.ndarray:
    signed = 1.0 + hounsfield / 1000.0
    signed[hounsfield > BONE_HU] *= -1
    return signed.astype(np.float32)


def _integrals(
    patient: Patient, signed: np.ndarray, extra: Extra, camera_from_ct: Tensor, camera: Camera
) -> PathIntegrals:
    def paths(voxels: np.ndarray, affine: Tensor) -> list[np.ndarray]:
        found = signed_path_integrals(
            torch.from_numpy(voxels), camera_from_ct @ affine, camera.K, camera.size
        )
        return [path.numpy() for path in found]

    soft, bone = paths(signed, patient.ct_from_index)
    for voxels, affine, sign in extra:
        more_soft, more_bone = paths(voxels, affine)
        soft, bone = soft + np.float32(sign) * more_soft, bone + np.float32(sign) * more_bone
    return PathIntegrals(soft, bone)


def _direction(generator: np.random.Generator, size: float) -> Tensor:
    vector = torch.from_numpy(generator.normal(size=3))
    return size * vector / vector.norm()
