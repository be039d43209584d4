from dataclasses import replace

import numpy as np
import torch
from training_jobs import small_ct

from sph_reg_ros.geometry import Camera
from sph_reg_ros.imaging.attenuation import attenuation_from_hounsfield
from sph_reg_ros.rendering.render import render
from sph_reg_ros.training.run_config import Anatomy
from sph_reg_ros.training.subjects import subjects_from

ONE_ENERGY = Anatomy(energies_kev=(60.0,))
CAMERA = Camera.from_geometry(1000.0, (8.0, 8.0), (24, 24))


def frontal(centre: torch.Tensor) -> torch.Tensor:
    """A camera in front of the patient, x to the patient's right."""
    pose = torch.tensor([[-1.0, 0, 0, 0], [0, 0, -1, 0], [0, -1, 0, 0], [0, 0, 0, 1]]).double()
    pose[:3, 3] = torch.tensor([0.0, 0, 700]) - pose[:3, :3] @ centre
    return pose


def test_a_ct_is_coarsened_to_the_pixels_and_keeps_its_attenuation():
    ct = small_ct()
    (fine,), (coarse,) = (subjects_from([ct], ONE_ENERGY, mm, 'cpu', 0) for mm in (1.0, 6.0))
    assert fine.volumes[0].shape == ct.hounsfield.shape
    # Voxels are 2.5, 2.8 and 4 mm.
    assert [round(mm, 2) for mm in coarse.volumes[0].spacing_mm] == [5.0, 5.6, 4.0]
    masses = [
        float(s.volumes[0].mu.sum()) * np.prod(s.volumes[0].spacing_mm) for s in (fine, coarse)
    ]
    assert abs(masses[1] / masses[0] - 1) < 1e-4


def test_each_energy_has_its_own_attenuation():
    (subject,) = subjects_from([small_ct()], Anatomy(energies_kev=(60.0, 40.0)), 1.0, 'cpu', 0)
    first, second = (volume.mu.max() for volume in subject.volumes)
    assert second > 1.3 * first


def test_a_mirrored_ct_gives_the_mirrored_image():
    plain, mirrored = subjects_from([small_ct()], replace(ONE_ENERGY, flips=True), 1.0, 'cpu', 0)
    pose = frontal(plain.centre_mm)
    images = [render(s.volumes[0], pose, CAMERA.K, CAMERA.size) for s in (plain, mirrored)]
    assert torch.allclose(images[0].flip(1), images[1], atol=0.02 * float(images[0].max()))
    assert not torch.allclose(images[0], images[1], atol=0.02 * float(images[0].max()))


def test_a_random_part_of_a_ct_stays_where_it_is():
    whole, *parts = subjects_from([small_ct()], replace(ONE_ENERGY, crops=3), 1.0, 'cpu', 0)
    full = attenuation_from_hounsfield(small_ct(), 60.0)
    assert torch.equal(whole.volumes[0].mu, full.mu)
    shapes = {part.volumes[0].shape for part in parts}
    assert len(shapes) == 3
    for part in parts:
        volume = part.volumes[0]
        assert all(0.55 * n < m <= n for m, n in zip(volume.shape, full.shape, strict=True))
        shift = torch.linalg.inv(full.ct_from_index) @ volume.ct_from_index
        i, j, k = shift[:3, 3].round().int().tolist()
        depth, height, width = volume.shape
        assert torch.equal(full.mu[k : k + depth, j : j + height, i : i + width], volume.mu)
