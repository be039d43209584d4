"""A CT, X-rays of it, their cameras and poses, as files for the command line."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import yaml
from ct_files import Phantom, write_dicom, write_volume
from PIL import Image
from typer.testing import CliRunner

from sph_reg_ros.cli import app
from sph_reg_ros.geometry import Camera, se3
from sph_reg_ros.geometry.carm import camera_from_ct_for_angles
from sph_reg_ros.imaging.attenuation import AttenuationVolume, attenuation_from_hounsfield
from sph_reg_ros.imaging.ct.volume import CT
from sph_reg_ros.rendering.render import render

SDD_MM, SOD_MM = 1000.0, 700.0
PITCH_MM, SIZE = (2.2, 2.0), (80, 88)
BEAM = ['--sdd', '1000', '--pixel-pitch', '2.2', '2.0']
START = ['--angles', '28', '12', '--sod', '700']
FIXED_FROM_CT = se3.exp(torch.tensor([0.4, -0.9, 0.2, 100.0, -50.0, 30.0], dtype=torch.float64))


def run(*options):
    return CliRunner().invoke(app, [str(part) for part in ('register', *options)])


def body() -> Phantom:
    """A soft ellipsoid with a few bones, no symmetry, air around it."""
    shape, spacing = (24, 36, 40), np.array([2.5, 2.8, 4.0])
    k, j, i = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing='ij')
    hounsfield = np.where((i / 0.9) ** 2 + (j / 0.8) ** 2 + (k / 0.9) ** 2 < 1, 30, -1000)
    random = np.random.default_rng(5)
    for centre in random.uniform(-0.5, 0.5, (9, 3)):
        radius = random.uniform(0.1, 0.22)
        ball = (i - centre[0]) ** 2 + (j - centre[1]) ** 2 + (k - centre[2]) ** 2 < radius**2
        hounsfield[ball] = 900
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = (-40.0, 25.0, 300.0)
    return Phantom(hounsfield.astype(np.int16), affine)


def attenuation_of(phantom: Phantom) -> AttenuationVolume:
    return attenuation_from_hounsfield(CT(phantom.hounsfield, phantom.ct_from_index, ''))


def write_pose(path: Path, **poses) -> Path:
    content = {name: np.asarray(pose).tolist() for name, pose in poses.items()}
    path.write_text(json.dumps(content) if path.suffix == '.json' else yaml.safe_dump(content))
    return path


def camera_content(K, size=SIZE, fixed_from_camera=None, distortion=(0.0,) * 5) -> dict:
    """What ROS's camera calibration writes, and the place of the camera."""
    content = {
        'image_width': size[1],
        'image_height': size[0],
        'camera_name': 'carm',
        'camera_matrix': {'rows': 3, 'cols': 3, 'data': np.asarray(K).flatten().tolist()},
        'distortion_model': 'plumb_bob',
        'distortion_coefficients': {'rows': 1, 'cols': 5, 'data': list(distortion)},
    }
    if fixed_from_camera is not None:
        content['fixed_from_camera'] = np.asarray(fixed_from_camera).tolist()
    return content


@dataclass(frozen=True)
class Files:
    """Where everything lies, and the truth: poses of the CT in the two cameras."""

    folder: Path
    poses: tuple[torch.Tensor, torch.Tensor]
    centre: torch.Tensor

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    @property
    def views(self) -> list:
        """Options for both views."""
        names = ('xray.png', 'camera.yaml', 'side.npy', 'side.yaml')
        first, camera, second, other = (self / name for name in names)
        return ['--xray', first, '--camera', camera, '--xray', second, '--camera', other]

    def register(self, *options, ct: str = 'ct.nii.gz', xray: Path | str = 'xray.png'):
        return run('--ct', self / ct, '--xray', self.folder / xray, *options)

    def near(self, mm: float = 5.0) -> torch.Tensor:
        """The pose of the CT in the first camera, moved."""
        twist = torch.tensor([0.03, -0.04, 0.03, mm, -mm, mm], dtype=torch.float64)
        return se3.apply_twist(twist, self.poses[0], self.centre)

    def error_of(self, found, view: int = 0) -> tuple[float, float]:
        """In-plane error (mm) of the centre, and rotation error (degrees)."""
        found, pose = torch.tensor(found, dtype=torch.float64), self.poses[view]
        ends = [se3.transform_points(T, self.centre[None])[0] for T in (found, pose)]
        rotation = se3.log(se3.inverse(pose) @ found)[:3]
        return float((ends[0] - ends[1])[:2].norm()), math.degrees(float(rotation.norm()))


def write_files(folder: Path) -> Files:
    phantom = body()
    volume = attenuation_of(phantom)
    isocentre = volume.centre + torch.tensor([4.0, -3, 5])
    K = Camera.from_geometry(SDD_MM, PITCH_MM, SIZE).K
    poses = []
    for name, angles in (('camera.yaml', (30, 10)), ('side.yaml', (-50, 5))):
        pose = camera_from_ct_for_angles(*map(math.radians, angles), SOD_MM, isocentre)
        place = FIXED_FROM_CT @ se3.inverse(pose)
        (folder / name).write_text(yaml.safe_dump(camera_content(K, SIZE, place)))
        poses.append(pose)
    counts = [50000 * torch.exp(-render(volume, T, K, SIZE, backend='torch')) for T in poses]
    first, second = (image.numpy().round().astype(np.uint16) for image in counts)
    Image.fromarray(first).save(folder / 'xray.png')
    np.save(folder / 'side.npy', second)
    (folder / 'alone.yaml').write_text(yaml.safe_dump(camera_content(K)))
    write_volume(folder / 'ct.nii.gz', phantom)
    write_dicom(folder / 'dicom', phantom, uid='1.2.3.4')
    files = Files(folder, (poses[0], poses[1]), volume.centre)
    write_pose(folder / 'near.yaml', camera_from_ct=files.near())
    return files
