"""Vertebrae and a femur that have moved, found each by itself; X-rays by DiffDRR's Siddon.

Each vertebra turns by 2 to 10 degrees and shifts by 2 to 5 mm, all in different directions; a femur
is flexed by 10 degrees about the middle of its head. No CT at hand has a label of a femur: it is
what is denser than muscle in a few capsules that were placed by hand and looked at. The X-ray is
that of the moved bodies in soft tissue, by another algorithm than the one that registers, clean or
disturbed as in `bench/register.py`. The initial pose is 3 degrees and 5 mm off.
"""

import argparse
import json
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import nibabel
import numpy as np
import torch
from _targets import Target, print_targets

from sph_reg_ros.evaluation.disturbances import Disturbances, draw_disturbances
from sph_reg_ros.evaluation.exposure import take_xray
from sph_reg_ros.evaluation.path_cache import PathIntegrals
from sph_reg_ros.geometry import Camera, se3, so3
from sph_reg_ros.geometry.box import mean_distance_mm
from sph_reg_ros.geometry.carm import camera_from_ct_for_angles
from sph_reg_ros.imaging.attenuation import AttenuationVolume, attenuation_from_hounsfield
from sph_reg_ros.imaging.bodies.body import Bodies
from sph_reg_ros.imaging.ct.volume import CT
from sph_reg_ros.imaging.load import load_ct
from sph_reg_ros.imaging.load_bodies import load_bodies
from sph_reg_ros.imaging.sample_ct import sample_ct_path
from sph_reg_ros.imaging.xray.intensity import IntensityModel
from sph_reg_ros.imaging.xray.prepare import prepare_xray
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.gate.targets import target_points
from sph_reg_ros.registration.register import register
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.result import Verdict
from sph_reg_ros.registration.view import View
from sph_reg_ros.rendering.reference.siddon import signed_path_integrals
from sph_reg_ros.rendering.render import render

DATA = Path(__file__).resolve().parents[2] / 'shared' / 'data'
CHEST = {
    f'vertebrae_{name}': label
    for name, label in zip(('T8', 'T9', 'T10', 'T11', 'T12', 'L1'), range(37, 31, -1), strict=True)
}
LUMBAR = {
    f'vertebrae_{name}': label
    for name, label in zip(('T12', 'L1', 'L2', 'L3', 'L4', 'L5'), range(32, 26, -1), strict=True)
}
HIP = {'femur': 1}
HEAD_LPS_MM = (-80.0, -142.3, 133.3)
"""Middle of the femur's head in the lumbar CT."""
CAPSULES = (
    (HEAD_LPS_MM, HEAD_LPS_MM, 24.0),
    ((-95.0, -140.3, 123.3), (-143.0, -128.3, 111.3), 18.0),
    ((-89.0, -142.3, 111.3), (-106.0, -136.3, 91.3), 16.0),
    ((-133.0, -132.3, 103.3), (-117.0, -136.3, 88.3), 28.0),
)
"""Both ends (LPS, mm) and radius of head, neck, its lower edge, and trochanter with shaft."""
FLEXION_DEG = 10.0
FEMUR_HU = 120.0
HIP_PRIOR = f', prior: {{rotation_deg: 10, translation_mm: 2, pivot_lps_mm: {list(HEAD_LPS_MM)}}}'
SDD_MM, SOD_MM, FIELD_MM, SIZE_PX = 1020.0, 700.0, 300.0, 256
SOFT = 1.04
"""Water-equivalent of what a body leaves where it was, as in `load_bodies`."""
BONE_HU = 250.0
RIGHT_SHARE = 0.9
SHOWN = 0.5
"""Share of a body's silhouette that has to be in the exposed field of every view to be counted as
shown."""


@dataclass(frozen=True)
class Physics:
    """A body for the other renderer.

    Attributes:
        water_equivalent: as in `simulation.Patient`, 0 outside of the body.
        displaced: SOFT inside the body, which it displaces where it goes.
        ct_from_index: of both.
    """

    water_equivalent: torch.Tensor
    displaced: torch.Tensor
    ct_from_index: torch.Tensor


class Scene:
    """A CT with labels, as the registration and as the simulation take it."""

    def __init__(self, ct_path: Path, mask_path: Path | None, labels: dict[str, int]) -> None:
        """Read both; without labels, those of a femur are drawn."""
        self.ct: CT = load_ct(ct_path)
        self.volume: AttenuationVolume = attenuation_from_hounsfield(self.ct)
        self.is_hip = mask_path is None
        with tempfile.TemporaryDirectory() as folder:
            if mask_path is None:
                mask_path = _drawn_femur(self.ct, Path(folder) / 'femur.nii.gz')
            prior = HIP_PRIOR if self.is_hip else ''
            self.bodies = _bodies(mask_path, labels, self.volume, prior)
            mask = np.asarray(nibabel.load(mask_path).dataobj).T
        middle = self.bodies.bodies[len(self.bodies) // 2].volume.centre
        self.centre = torch.tensor(HEAD_LPS_MM).double() if self.is_hip else middle
        hounsfield = np.maximum(self.ct.hounsfield.astype(np.float32), -1000.0)
        signed = 1.0 + hounsfield / 1000.0
        signed[hounsfield > BONE_HU] *= -1
        rest = signed.copy()
        self.physics = []
        for label in labels.values():
            inside = mask == label
            box = tuple(slice(int(a.min()), int(a.max()) + 1) for a in np.nonzero(inside))
            shift = np.eye(4)
            shift[:3, 3] = [part.start for part in reversed(box)]
            self.physics.append(
                Physics(
                    torch.from_numpy(np.where(inside[box], signed[box], 0).astype(np.float32)),
                    torch.from_numpy(inside[box].astype(np.float32) * np.float32(SOFT)),
                    torch.as_tensor(self.ct.ct_from_index @ shift),
                )
            )
            rest[inside] = SOFT
        self.rest = torch.from_numpy(rest)

    def motions(self, generator: np.random.Generator) -> list[torch.Tensor]:
        """Draw how each body has moved, CT coordinates."""
        if not self.is_hip:
            return [
                _motion(generator, body.volume.centre, (2.0, 10.0), (2.0, 5.0))
                for body in self.bodies
            ]
        axis = np.array([generator.choice([-1.0, 1.0]), *generator.normal(0, 0.2, 2)])
        turn = axis / np.linalg.norm(axis) * math.radians(FLEXION_DEG)
        twist = torch.from_numpy(np.concatenate([turn, generator.normal(0, 0.5, 3)]))
        return [se3.apply_twist(twist, torch.eye(4, dtype=torch.float64), self.centre)]

    def integrals(
        self, camera_from_ct: torch.Tensor, motions: Sequence[torch.Tensor], camera: Camera
    ) -> PathIntegrals:
        """Return path lengths through soft tissue and bone, bodies moved in CT coordinates."""

        def paths(voxels: torch.Tensor, camera_from_index: torch.Tensor) -> list[np.ndarray]:
            found = signed_path_integrals(voxels, camera_from_index, camera.K, camera.size)
            return [path.numpy() for path in found]

        soft, bone = paths(
            self.rest, camera_from_ct @ torch.as_tensor(self.ct.ct_from_index).double()
        )
        for body, motion in zip(self.physics, motions, strict=True):
            there = camera_from_ct @ motion @ body.ct_from_index
            own_soft, own_bone = paths(body.water_equivalent, there)
            soft = soft + own_soft - paths(body.displaced, there)[0]
            bone = bone + own_bone
        return PathIntegrals(soft, bone)


@dataclass(frozen=True)
class Case:
    """One body in one registration: its errors, and what was said of them."""

    scene: str
    number: int
    views: int
    disturbed: bool
    body: str
    moved_mm: float
    moved_deg: float
    centre_mm: float
    across_mm: float
    degrees: float
    mean_mm: float
    bound_mm: float
    verdict: str
    failed: tuple[str, ...]
    whole_mm: float
    visible: float
    seconds: float

    @property
    def is_right(self) -> bool:
        """Return whether it keeps to the limits, which of one view are across the beam only."""
        if self.views == 1:
            return self.across_mm <= 1.0
        return self.centre_mm <= 1.0 and self.degrees <= 1.5


def cases_of(name: str, scene: Scene, number: int) -> Iterator[Case]:
    """Register one case by two views and by the first of them."""
    generator = np.random.default_rng(number)
    camera = Camera.from_geometry(SDD_MM, (FIELD_MM / SIZE_PX,) * 2, (SIZE_PX, SIZE_PX))
    motions = scene.motions(generator)
    disturbed = number % 2 == 1
    views, truths = [], []
    for angle in (0.0, 45.0 if scene.is_hip else 90.0):
        around = math.radians(angle + generator.uniform(-15, 15))
        tilt = math.radians(generator.uniform(-10, 10))
        truth = camera_from_ct_for_angles(around, tilt, SOD_MM, scene.centre)
        disturbances = draw_disturbances(generator) if disturbed else Disturbances()
        counts = take_xray(scene.integrals(truth, motions, camera), disturbances, generator)
        pixels = torch.from_numpy(counts.astype(np.float32))
        views.append(View(*_in_order(pixels, camera), se3.inverse(truth)))
        truths.append(truth)
    start = truths[0] @ _motion(generator, scene.centre, (3.0, 3.0), (5.0, 5.0))
    for count in (2, 1):
        begun = time.perf_counter()
        request = RegistrationRequest(
            scene.volume,
            tuple(views[:count]),
            start,
            RegistrationConfig(method='image'),
            bodies=scene.bodies,
        )
        result = register(request)
        seconds = time.perf_counter() - begun
        whole = mean_distance_mm(result.camera_from_ct[0], truths[0], target_points(scene.volume))
        rows = [
            (body.name, body.volume, body.volume.centre, motion, one.camera_from_body[0], one)
            for body, motion, one in zip(scene.bodies, motions, result.bodies, strict=True)
        ]
        if scene.is_hip:
            still = torch.eye(4, dtype=torch.float64)
            pelvis = result.camera_from_ct[0]
            rows.append(('pelvis', scene.bodies.rest, scene.centre, still, pelvis, result))
        for body, volume, centre, motion, pose, found in rows:
            expected = truths[0] @ motion
            here, there, rest = (
                se3.transform_points(T, centre[None])[0] for T in (pose, expected, truths[0])
            )
            shift, ray = here - there, there / there.norm()
            turn = so3.log(pose[:3, :3] @ expected[:3, :3].T)
            verification = found.verification
            yield Case(
                name,
                number,
                count,
                disturbed,
                body,
                float((there - rest).norm()),
                math.degrees(float(so3.log(motion[:3, :3]).norm())),
                float(shift.norm()),
                float((shift - (shift @ ray) * ray).norm()),
                math.degrees(float(turn.norm())),
                float(mean_distance_mm(pose, expected, target_points(volume))),
                verification.tre_p95_mm,
                found.verdict.name,
                tuple(check.name for check in verification.checks if not check.passed),
                float(whole),
                min(
                    _visible(volume, T @ motion, v)
                    for T, v in zip(truths, views[:count], strict=False)
                ),
                seconds,
            )


def targets_of(what: str, cases: Sequence[Case]) -> list[Target]:
    """Print counts and medians of one kind of cases; return what they should be."""
    if not cases:
        return []
    right = [case for case in cases if case.is_right]
    shown = [case for case in cases if case.visible >= SHOWN]
    verified = [case for case in cases if case.verdict == Verdict.VERIFIED.name]
    bounded = [case for case in verified if case.mean_mm <= case.bound_mm]
    wrong = len(verified) - sum(case.is_right for case in verified)

    def median(figure: str) -> float:
        return statistics.median(getattr(case, figure) for case in cases)

    print(
        f'{what:34} {len(right):4d} of {len(cases):4d} right, '
        f'{sum(case.is_right for case in shown)} of the {len(shown)} that are half in the field; '
        f'median {median("centre_mm"):.2f} mm, '
        f'across {median("across_mm"):.2f} mm, {median("degrees"):.2f} deg; VERIFIED '
        f'{len(verified)}, of them wrong {wrong}, bound held {len(bounded)}; '
        f'{median("seconds"):.1f} s',
        flush=True,
    )
    met = len(right) >= RIGHT_SHARE * len(cases)
    return [
        Target(f'{what}: right', f'>= {RIGHT_SHARE:.0%}', f'{len(right)} of {len(cases)}', met),
        Target(f'{what}: wrong and VERIFIED', '0', str(wrong), wrong == 0),
    ]


def main() -> None:
    """Print the tables."""
    arguments = _parser().parse_args()
    found: list[Case] = []
    targets: list[Target] = []
    for name in arguments.scenes:
        paths = _paths(arguments.data)[name]
        if not all(path.is_file() for path in paths[:2] if path):
            print(f'skipped: the data of {name} is not there')
            continue
        scene = Scene(*paths)
        for number in range(arguments.first, arguments.first + arguments.cases):
            found += cases_of(name, scene, number)
        for views in (2, 1):
            for disturbed in (False, True):
                what = f'{name}, {views} view(s), {"disturbed" if disturbed else "clean"}'
                of_kind = [
                    c for c in found if (c.scene, c.views, c.disturbed) == (name, views, disturbed)
                ]
                targets += targets_of(what, of_kind)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(case) for case in found], indent=1) + '\n')
    print_targets(targets)
    print(f'bodies: {sum(case.is_right for case in found)} of {len(found)} right')
    if arguments.strict and not all(target.met for target in targets):
        sys.exit(1)


def _paths(data: Path) -> dict[str, tuple[Path, Path | None, dict[str, int]]]:
    lumbar = 'lumbar-pelvis_totalsegmentator-example_3mm'
    return {
        'chest': (sample_ct_path(), sample_ct_path().parent / 'mask.nii.gz', CHEST),
        'hip': (data / f'{lumbar}.nii.gz', None, HIP),
        'lumbar': (data / f'{lumbar}.nii.gz', data / f'{lumbar}_vertebrae26-33.nii.gz', LUMBAR),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--data', type=Path, default=DATA, help='folder of the shared data')
    parser.add_argument('--scenes', nargs='+', default=['chest', 'lumbar', 'hip'])
    parser.add_argument('--first', type=int, default=0, help='number of the first case')
    parser.add_argument('--cases', type=int, default=10, help='of each scene; odd ones disturbed')
    parser.add_argument('--quick', dest='cases', action='store_const', const=2, help='two cases')
    parser.add_argument('--json', type=Path, help='file for all figures')
    parser.add_argument('--strict', action='store_true', help='exit 1 where a target is missed')
    return parser


def _bodies(
    mask_path: Path, labels: dict[str, int], volume: AttenuationVolume, prior: str = ''
) -> Bodies:
    lines = [f'source: {mask_path}', 'bodies:']
    lines += [f'  - {{name: {name}, label: {label}{prior}}}' for name, label in labels.items()]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'bodies.yaml'
        path.write_text('\n'.join(lines) + '\n')
        return load_bodies(path, volume)


def _drawn_femur(ct: CT, path: Path) -> Path:
    """Write a label map of the femur."""
    index = np.stack(np.meshgrid(*map(np.arange, ct.hounsfield.T.shape), indexing='ij'), -1)
    points = index @ ct.ct_from_index[:3, :3].T + ct.ct_from_index[:3, 3]
    inside = np.zeros(points.shape[:3], bool)
    for first, last, radius_mm in CAPSULES:
        along = np.subtract(last, first)
        share = np.clip((points - first) @ along / max(along @ along, 1e-9), 0, 1)
        away = points - first - share[..., None] * along
        inside |= (away**2).sum(-1) < radius_mm**2
    inside &= ct.hounsfield.T > FEMUR_HU
    ras_from_index = np.diag([-1.0, -1.0, 1.0, 1.0]) @ ct.ct_from_index
    nibabel.save(nibabel.Nifti1Image(inside.astype(np.uint8), ras_from_index), path)
    return path


def _in_order(pixels: torch.Tensor, camera: Camera) -> tuple[torch.Tensor, Camera, torch.Tensor]:
    integrals, mask = prepare_xray(pixels, IntensityModel())
    return integrals, camera, mask


def _visible(volume: AttenuationVolume, pose: torch.Tensor, view: View) -> float:
    """Return the share of a body's silhouette that the exposed field of a view shows."""
    height, width = view.camera.size
    wide = view.camera.crop(-height, -width, 3 * height, 3 * width)
    image = render(volume, pose, wide.K, wide.size)
    shows = image > 0.1 * image.max()
    inside = shows[height : 2 * height, width : 2 * width]
    field = inside if view.mask is None else inside & view.mask
    return float(field.sum() / shows.sum())


def _motion(
    generator: np.random.Generator,
    centre: torch.Tensor,
    degrees: tuple[float, float],
    millimetres: tuple[float, float],
) -> torch.Tensor:
    turn, shift = generator.normal(size=(2, 3))
    turn *= math.radians(generator.uniform(*degrees)) / np.linalg.norm(turn)
    shift *= generator.uniform(*millimetres) / np.linalg.norm(shift)
    twist = torch.from_numpy(np.concatenate([turn, shift]))
    return se3.apply_twist(twist, torch.eye(4, dtype=torch.float64), centre)


if __name__ == '__main__':
    main()
