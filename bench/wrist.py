"""Registration of one bone to real X-rays of a wrist, from perturbed starts.

The radius is registered to two calibrated X-rays, and to each alone, from starts at a given angle
and distance from a reference pose. The CT holds the radius only, the X-rays everything else. The
reference is image-based too: repeatable to about 0.1 mm and 0.6 degrees.

Errors: the radius's centre in mm, apart along and across the ray that shows it in a single view;
tilt of the shaft and roll about it in degrees.
"""

import argparse
import json
import math
import statistics
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from sph_reg_ros.errors import RegistrationError
from sph_reg_ros.evaluation.overlay import overlay
from sph_reg_ros.geometry import Camera, se3, so3
from sph_reg_ros.imaging.attenuation import AttenuationVolume, attenuation_from_hounsfield
from sph_reg_ros.imaging.load import load_ct, load_xray
from sph_reg_ros.imaging.xray.intensity import IntensityModel
from sph_reg_ros.imaging.xray.prepare import prepare_xray
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.part import register_part
from sph_reg_ros.registration.part_search import PartSearch
from sph_reg_ros.registration.region import around_projection
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.result import Verdict
from sph_reg_ros.registration.view import View
from sph_reg_ros.rendering.render import render

DATA = Path(__file__).resolve().parents[2] / 'shared' / 'data' / 'wrist'
FRAME = '158'
CAMERAS = ('cam01', 'cam02')
SHAFT = 2
"""Axis of the CT that the bone's shaft follows."""
LIMITS = {'centre_mm': 0.5, 'tilt_deg': 1.0, 'roll_deg': 2.0}
IN_PLANE_LIMIT_MM = 0.5


@dataclass(frozen=True)
class Wrist:
    """The data, with poses in each camera.

    Attributes:
        volume: the radius, air around it.
        views: whole X-rays, in a common frame.
        camera_from_ct: the reference pose in each camera.
    """

    volume: AttenuationVolume
    views: tuple[View, ...]
    camera_from_ct: tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class WristResult:
    """Errors of one registration against the reference."""

    centre_mm: float
    in_plane_mm: float
    depth_mm: float
    tilt_deg: float
    roll_deg: float
    seconds: float
    similarity: float
    verified: bool = False


def load_wrist(folder: Path) -> Wrist:
    """Read CT, X-rays, cameras and the reference pose."""
    reference = json.loads((folder / 'reference_radius_pose.json').read_text())
    volume = attenuation_from_hounsfield(load_ct(folder / 'rad_bone_hu.nii.gz'))
    pose = reference['radius'][FRAME]
    centred = _rigid(np.eye(3), -np.array(reference['radius_volume_centre_c']))
    world_from_ct = _rigid(pose['R'], pose['t']) @ centred
    views, poses = [], []
    for name in CAMERAS:
        given = reference['cameras'][name]
        camera_from_world = _rigid(given['R'], given['t'])
        camera = Camera(torch.tensor(given['K'], dtype=torch.float64), *given['size'])
        image = load_xray(folder / f'xr_rad_uln_{name}_UND.0{FRAME}.tif', camera=camera)
        integrals, mask = prepare_xray(image.pixels, IntensityModel(), mask=image.mask)
        views.append(View(integrals, camera, mask, se3.inverse(camera_from_world)))
        poses.append(camera_from_world @ world_from_ct)
    return Wrist(volume, tuple(views), tuple(poses))


def perturbed(
    wrist: Wrist, first: int, seed: int, degrees: float, millimetres: float
) -> torch.Tensor:
    """Return a pose in camera `first`, so far from the reference in a random direction."""
    generator = np.random.default_rng(seed)
    turn, shift = generator.normal(size=(2, 3))
    twist = np.concatenate(
        [
            turn / np.linalg.norm(turn) * math.radians(degrees),
            shift / np.linalg.norm(shift) * millimetres,
        ]
    )
    return se3.apply_twist(
        torch.from_numpy(twist), wrist.camera_from_ct[first], wrist.volume.centre
    )


def run(
    wrist: Wrist, cameras: tuple[int, ...], start: torch.Tensor, settings: argparse.Namespace
) -> tuple[WristResult, torch.Tensor]:
    """Register from a start and compare; also return the pose in the first camera."""
    began = time.perf_counter()
    first = cameras[0]
    request = RegistrationRequest(
        wrist.volume, tuple(wrist.views[c] for c in cameras), start, _config(settings)
    )
    try:
        search = PartSearch.of(request.config)
        if settings.margin:
            search = replace(search, margin_mm=settings.margin)
        result = register_part(request, search)
        pose, similarity = result.camera_from_ct[0], result.similarity_after
        verified = result.verdict == Verdict.VERIFIED
    except RegistrationError:
        pose, similarity, verified = start, math.nan, False
    errors = compare(pose, wrist.camera_from_ct[first], wrist.volume.centre)
    return WristResult(*errors, time.perf_counter() - began, similarity, verified), pose


def compare(
    pose: torch.Tensor, reference: torch.Tensor, centre: torch.Tensor
) -> tuple[float, float, float, float, float]:
    """Return the error of the centre, across and along its ray (mm), of tilt and roll (degrees)."""
    found, expected = (se3.transform_points(T, centre[None])[0] for T in (pose, reference))
    shift, ray = found - expected, expected / expected.norm()
    depth = float(shift @ ray)
    turn = so3.log(reference[:3, :3].T @ pose[:3, :3]).rad2deg()
    roll = float(turn[SHAFT].abs())
    tilt = math.sqrt(max(0.0, float(turn @ turn) - roll**2))
    return float(shift.norm()), float((shift - depth * ray).norm()), abs(depth), tilt, roll


def succeeded(outcome: WristResult, views: int) -> bool:
    """Return whether a registration is right: two views fix the pose, one only the plane."""
    if views == 1:
        return outcome.in_plane_mm < IN_PLANE_LIMIT_MM
    return all(getattr(outcome, name) < limit for name, limit in LIMITS.items())


def summary(outcomes: list[WristResult], views: int) -> dict[str, float]:
    """Return the share of successes and the medians."""
    right = [o for o in outcomes if succeeded(o, views)]
    figures = {
        'success': len(right) / len(outcomes),
        'right_verified': sum(o.verified for o in right),
        'wrong_verified': sum(o.verified for o in outcomes) - sum(o.verified for o in right),
    }
    for name in WristResult.__dataclass_fields__:
        figures[name] = statistics.median(float(getattr(o, name)) for o in outcomes)
    return figures


def write_overlays(
    wrist: Wrist, cameras: tuple[int, ...], pose: torch.Tensor, path: Path, margin_mm: float
) -> None:
    """Write each X-ray with the edges of the bone at a pose of the first camera, side by side."""
    fixed_from_ct = wrist.views[cameras[0]].fixed_from_camera @ pose
    pictures = []
    for c in cameras:
        view = wrist.views[c]
        camera_from_ct = se3.inverse(view.fixed_from_camera) @ fixed_from_ct
        part = around_projection(view, wrist.volume, wrist.camera_from_ct[c], margin_mm)
        drr = render(wrist.volume, camera_from_ct, part.camera.K, part.camera.size)
        plain = overlay(_contrast(part), None)
        pictures += [plain, overlay(_contrast(part), drr.numpy())]
    height = max(p.shape[0] for p in pictures)
    padded = [np.pad(p, ((0, height - p.shape[0]), (0, 6), (0, 0))) for p in pictures]
    Image.fromarray(np.concatenate(padded, axis=1)).save(path)


def main() -> None:
    """Print the table; write figures with --json and pictures with --output."""
    arguments = _parser().parse_args()
    if not arguments.data.is_dir():
        print('skipped: the wrist data is not there')
        sys.exit(0)
    wrist = load_wrist(arguments.data)
    if arguments.output:
        arguments.output.mkdir(parents=True, exist_ok=True)
    rows = {}
    print(
        f'{arguments.starts} starts {arguments.degrees:g} degrees and {arguments.millimetres:g} mm '
        f'from the reference; similarity {arguments.similarity}; medians'
    )
    print(
        f'{"views":12} {"success":>8} {"centre":>8} {"in plane":>9} {"depth":>8} {"tilt":>6} '
        f'{"roll":>6} {"time":>7}'
    )
    for cameras in ((0, 1),) if arguments.two_views else ((0, 1), (0,), (1,)):
        name = ' + '.join(CAMERAS[c] for c in cameras)
        outcomes, poses = [], []
        for seed in range(arguments.first, arguments.first + arguments.starts):
            start = perturbed(wrist, cameras[0], seed, arguments.degrees, arguments.millimetres)
            outcome, pose = run(wrist, cameras, start, arguments)
            outcomes.append(outcome)
            poses.append(pose)
        figures = summary(outcomes, len(cameras))
        rows[name] = {'summary': figures, 'cases': [asdict(outcome) for outcome in outcomes]}
        print(
            f'{name:12} {figures["success"]:8.0%} {figures["centre_mm"]:5.2f} mm '
            f'{figures["in_plane_mm"]:6.2f} mm {figures["depth_mm"]:5.2f} mm '
            f'{figures["tilt_deg"]:6.2f} {figures["roll_deg"]:6.2f} {figures["seconds"]:5.2f} s; '
            f'VERIFIED {figures["right_verified"]} right, {figures["wrong_verified"]} wrong',
            flush=True,
        )
        if arguments.output:
            order = sorted(range(len(outcomes)), key=lambda k: outcomes[k].in_plane_mm)
            for label, k in (('median', order[len(order) // 2]), ('worst', order[-1])):
                file = arguments.output / f'{name.replace(" + ", "_")}_{label}.png'
                write_overlays(wrist, cameras, poses[k], file, 8.0)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + '\n')


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--starts', type=int, default=50, help='seeded starts of every kind')
    parser.add_argument('--first', type=int, default=0, help='seed of the first of them')
    parser.add_argument('--two-views', action='store_true', help='not each view by itself')
    parser.add_argument('--data', type=Path, default=DATA, help='folder of the wrist data')
    parser.add_argument('--degrees', type=float, default=10.0, help='rotation of a start')
    parser.add_argument('--millimetres', type=float, default=10.0, help='shift of a start')
    parser.add_argument('--margin', type=float, help='mm around the silhouette; 16, from far 24')
    parser.add_argument('--similarity', default='gradient_ncc', help='name of the similarity')
    parser.add_argument('--output', type=Path, help='folder for overlays (PNG)')
    parser.add_argument('--json', type=Path, help='file for all figures')
    return parser


def _config(settings: argparse.Namespace) -> RegistrationConfig:
    return RegistrationConfig(
        similarity=settings.similarity,
        levels=(64, 128, 256),
        search_rotation_rad=math.radians(settings.degrees) / 3**0.5,
        search_in_plane_mm=settings.millimetres / 3**0.5,
        search_depth_mm=settings.millimetres / 3**0.5,
    )


def _contrast(view: View) -> np.ndarray:
    # Beyond the aperture all is dark; that would leave no contrast to the bone.
    shown = view.line_integrals.clone()
    if view.mask is not None:
        shown[~view.mask] = float(view.line_integrals[view.mask].min())
    return shown.numpy()


def _rigid(rotation: object, translation: object) -> torch.Tensor:
    """Return a 4 x 4 transform; the rotation is made exactly one."""
    u, _, v = torch.linalg.svd(torch.as_tensor(np.array(rotation), dtype=torch.float64))
    return se3.from_parts(u @ v, torch.as_tensor(np.array(translation), dtype=torch.float64))


if __name__ == '__main__':
    main()
