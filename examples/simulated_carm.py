"""A simulated C-arm before the sample CT: where the other examples have their X-rays from."""

from math import radians

import torch

import sph_reg_ros as sph
from sph_reg_ros.geometry.carm import camera_from_ct_for_angles

CT = sph.load_ct(sph.sample_ct_path())
VOLUME = sph.attenuation_from_hounsfield(CT)
CAMERA = sph.Camera.from_geometry(1020.0, (1.4, 1.4), (256, 256))
PHOTONS = 50_000.0


def pose_at(primary_deg, secondary_deg=0.0, right_mm=0.0):
    """Return the pose camera_from_ct [4, 4] (mm) of C-arm angles, the patient beside the middle."""
    angles = radians(primary_deg), radians(secondary_deg)
    pose = camera_from_ct_for_angles(*angles, 700.0, VOLUME.centre)
    pose[0, 3] += right_mm
    return pose


def expose(pose, seed=0, volume=VOLUME):
    """Return a noisy X-ray, as a file would give it; rendered without scatter, unlike real ones."""
    light = PHOTONS * torch.exp(-sph.render(volume, pose, CAMERA.K, CAMERA.size))
    counts = torch.poisson(light, generator=torch.Generator().manual_seed(seed))
    return sph.XRay(counts, torch.ones(CAMERA.size, dtype=torch.bool), CAMERA)
