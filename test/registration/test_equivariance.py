"""The world decides, not how the voxels are stored; and a wrong world is not verified."""

import itertools

import pytest
import torch
from phantoms import pose_in_front, smooth_phantom
from registration_scenes import CAMERA, CONFIG, moved, xray
from reliability import record, repetitions

from sph_reg_ros.geometry import se3
from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.registration.register import register
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.result import Verdict
from sph_reg_ros.registration.view import View

AXES = list(itertools.permutations(range(3)))
FLIPS = list(itertools.product((False, True), repeat=3))
STORED = [(axes, flips) for axes in AXES for flips in FLIPS][1:]
LIMIT_MM = 0.01


@pytest.fixture(scope='module')
def scene():
    """Return a CT, its true pose, a start beside it and the X-ray."""
    volume = smooth_phantom()
    truth = pose_in_front(volume)
    start = moved(volume, truth, seed=1, degrees=2.0, millimetres=4.0)
    return volume, truth, start, View(xray(volume, truth, noise=0.0), CAMERA)


def found(scene, volume) -> tuple[torch.Tensor, Verdict]:
    _, _, start, view = scene
    result = register(RegistrationRequest(volume, (view,), start, CONFIG))
    return result.camera_from_ct[0], result.verdict


@pytest.fixture(scope='module')
def reference(scene):
    pose, verdict = found(scene, scene[0])
    assert verdict == Verdict.VERIFIED
    return pose


def stored(volume, axes, flips, *, affine_too=True) -> AttenuationVolume:
    """Return a CT with voxels in another order; without `affine_too` the world is another one."""
    mu = volume.mu.permute(2, 1, 0).permute(axes)
    affine = volume.ct_from_index.clone()
    affine[:, :3] = affine[:, list(axes)]
    for axis, flip in enumerate(flips):
        if flip:
            affine[:, 3] += affine[:, axis] * (mu.shape[axis] - 1)
            affine[:, axis] *= -1
            mu = mu.flip(axis)
    if not affine_too:
        return AttenuationVolume(volume.mu, about_centre(volume, affine[:3, :3]))
    return AttenuationVolume(mu.permute(2, 1, 0).contiguous(), affine)


def about_centre(volume, axes) -> torch.Tensor:
    """Return the affine with other axes and the same centre."""
    affine = volume.ct_from_index.clone()
    middle = (torch.tensor(volume.shape[::-1], dtype=torch.float64) - 1) / 2
    affine[:3, :3] = axes
    affine[:3, 3] = volume.centre - axes @ middle
    return affine


def cropped(volume) -> AttenuationVolume:
    """Return the CT without its outermost voxels, which are air."""
    affine = volume.ct_from_index.clone()
    affine[:3, 3] += affine[:3, :3].sum(1)
    return AttenuationVolume(volume.mu[1:-1, 1:-1, 1:-1].contiguous(), affine)


def resampled(volume) -> AttenuationVolume:
    """Return the CT with half the spacing; linear interpolation in between is the same."""
    k, j, i = volume.shape
    size = (2 * k - 1, 2 * j - 1, 2 * i - 1)
    finer = torch.nn.functional.interpolate(
        volume.mu[None, None], size, mode='trilinear', align_corners=True
    )
    affine = volume.ct_from_index.clone()
    affine[:3, :3] /= 2
    return AttenuationVolume(finer[0, 0], affine)


def farthest_mm(volume, a, b) -> float:
    """Return the largest distance between two poses over the CT's corners."""
    index = [[0.0, n - 1.0] for n in volume.shape[::-1]]
    corners = torch.tensor(list(itertools.product(*index)), dtype=torch.float64)
    world = se3.transform_points(volume.ct_from_index, corners)
    return float(
        (se3.transform_points(a, world) - se3.transform_points(b, world)).norm(dim=1).max()
    )


def chosen(short: int) -> list:
    """Return orders of storage, far from each other in the list."""
    count = repetitions(short, len(STORED))
    return STORED[:: len(STORED) // count][:count]


def test_another_order_of_storage_gives_the_same_answer(scene, reference):
    orders = chosen(2)
    distances = [
        farthest_mm(scene[0], found(scene, stored(scene[0], *order))[0], reference)
        for order in orders
    ]
    record('P6 storage order', f'{len(orders)} orders, {max(distances):.4f} mm at most')
    assert max(distances) < LIMIT_MM


@pytest.mark.parametrize('change', [cropped, resampled])
def test_a_cropped_or_resampled_ct_gives_the_same_answer(scene, reference, change):
    distance = farthest_mm(scene[0], found(scene, change(scene[0]))[0], reference)
    record(f'P6 {change.__name__}', f'{distance:.4f} mm')
    assert distance < LIMIT_MM


def test_a_corrupted_world_is_never_verified(scene):
    orders = chosen(4)
    wrong = [
        order
        for order in orders
        if found(scene, stored(scene[0], *order, affine_too=False))[1] == Verdict.VERIFIED
    ]
    record('P7', f'{len(wrong)} of {len(orders)} corrupted affines VERIFIED')
    assert not wrong
