"""Distorted images straightened, against OpenCV's own projection of points."""

import cv2
import numpy as np
import pytest
import torch

from sph_reg_ros.errors import CameraError, ErrorCode
from sph_reg_ros.imaging.xray.intensity import IntensityModel
from sph_reg_ros.imaging.xray.lens import Lens, lens_of
from sph_reg_ros.imaging.xray.prepare import prepare_xray
from sph_reg_ros.imaging.xray.rectify import rectified, rectified_points

SIZE = (180, 200)
K = np.array([[700.0, 0.0, 108.0], [0.0, 720.0, 84.0], [0.0, 0.0, 1.0]])
# At the edge of the field, where the tangent is 0.14, they move pixels by 1 to 5.
LENSES = {
    'pincushion': Lens('plumb_bob', (1.2, 8.0, 0.01, -0.02, 0.0)),
    'barrel': Lens('plumb_bob', (-1.5, 4.0, -0.01, 0.01)),
    'rational': Lens('rational_polynomial', (0.9, 0.4, 0.01, 0.01, 0.1, -0.5, 0.2, 0.1)),
    'equidistant': Lens('equidistant', (1.5, 2.0, 0.0, 0.0)),
}
POINTS = np.array([[x, y, 1.0] for x in np.linspace(-0.11, 0.09, 5) for y in (-0.08, 0.01, 0.09)])


def distorted_pixels(lens: Lens, K=K) -> np.ndarray:
    coefficients, points = np.array(lens.coefficients), POINTS[:, None]
    if lens.model == 'equidistant':
        return cv2.fisheye.projectPoints(points, np.zeros(3), np.zeros(3), K, coefficients)[0][:, 0]
    return cv2.projectPoints(points, np.zeros(3), np.zeros(3), K, coefficients)[0][:, 0]


def spots(pixels: np.ndarray, size=SIZE) -> torch.Tensor:
    v, u = np.mgrid[: size[0], : size[1]]
    distances = [(u - a) ** 2 + (v - b) ** 2 for a, b in pixels]
    return torch.from_numpy(sum(np.exp(-d / 8) for d in distances).astype(np.float32))


def centroid(image: np.ndarray, near: np.ndarray) -> np.ndarray:
    column, row = np.rint(near).astype(int)
    window = image[row - 5 : row + 6, column - 5 : column + 6]
    v, u = np.mgrid[-5:6, -5:6]
    return np.array(
        [column + (window * u).sum() / window.sum(), row + (window * v).sum() / window.sum()]
    )


@pytest.mark.parametrize('name', LENSES)
def test_points_come_to_lie_where_a_pinhole_sees_them(name):
    lens, everything = LENSES[name], torch.ones(SIZE, dtype=torch.bool)
    before, expected = distorted_pixels(lens), (POINTS @ K.T)[:, :2]
    image, mask = rectified(spots(before), everything, torch.from_numpy(K), lens)
    found = np.array([centroid(image.numpy(), pixel) for pixel in expected])
    assert np.abs(before - expected).max() > 1.0
    assert np.abs(found - expected).max() < 0.05
    assert image.shape == mask.shape == SIZE


@pytest.mark.parametrize('skew', [0.0, 30.0])
def test_a_cropped_and_binned_image_has_the_same_lens(skew):
    lens, everything = LENSES['pincushion'], torch.ones(90, 80, dtype=torch.bool)
    full = K + [[0, skew, 0], [0, 0, 0], [0, 0, 0]]
    ideal = distorted_pixels(lens, np.eye(3)) @ full[:2, :2].T + full[:2, 2]
    # Every second column of the 160 from column 30 on.
    bin_of = np.array([[0.5, 0, -15.25], [0, 1, -40], [0, 0, 1]])
    shown = ideal @ bin_of[:2, :2].T + bin_of[:2, 2]
    expected = (POINTS @ (bin_of @ full).T)[:, :2]
    inner = ((expected > 7) & (expected < [72, 82])).all(axis=1)
    camera = torch.from_numpy(bin_of @ full)
    image, _ = rectified(spots(shown, (90, 80)), everything, camera, lens)
    found = np.array([centroid(image.numpy(), pixel) for pixel in expected[inner]])
    assert inner.sum() >= 3 and np.abs(found - expected[inner]).max() < 0.1


def test_what_the_distorted_image_does_not_show_or_use_is_masked():
    lens = LENSES['pincushion']
    usable = torch.ones(SIZE, dtype=torch.bool)
    usable[80:90, 100:120] = False
    _, mask = rectified(torch.zeros(SIZE), usable, torch.from_numpy(K), lens)
    assert not mask[0].any() and not mask[:, 0].any(), 'a pincushion leaves the border empty'
    assert not mask[82:88, 102:118].any() and mask[70:76, 95:125].all()
    _, mask = rectified(
        torch.zeros(SIZE), torch.ones_like(usable), torch.from_numpy(K), LENSES['barrel']
    )
    assert mask.all(), 'a barrel is cut off at the border'


def test_blades_and_clipped_pixels_are_found_before_the_image_is_straightened():
    lens, rng = LENSES['pincushion'], np.random.default_rng(0)
    counts = torch.from_numpy(rng.integers(20000, 40000, SIZE).astype(np.float32))
    counts[60:80, 60:80] = 65535
    integrals, mask = prepare_xray(counts, IntensityModel(), lens=(lens, torch.from_numpy(K)))
    straight, usable = rectified(*prepare_xray(counts, IntensityModel()), torch.from_numpy(K), lens)
    assert torch.equal(integrals, straight) and torch.equal(mask, usable)
    assert not mask[64:76, 64:76].any()


def test_zeros_are_no_distortion_whatever_the_model():
    assert lens_of('anything', [0.0] * 5) is None and lens_of('', []) is None
    assert lens_of('equidistant', [0.1, 0, 0, 0]) == Lens('equidistant', (0.1, 0.0, 0.0, 0.0))


@pytest.mark.parametrize(
    ('model', 'coefficients', 'words'),
    [
        ('thin_prism', [0.1] * 4, "'thin_prism' .* is none of plumb_bob"),
        ('', [0.1] * 5, "'' .* is none of"),
        ('plumb_bob', [0.1], '4 or 5 coefficients, not 1'),
        ('rational_polynomial', [0.1] * 5, '8 or 12 or 14 coefficients, not 5'),
        ('equidistant', [float('nan')] * 4, 'NaN'),
    ],
)
def test_a_model_that_is_not_known_is_refused_by_name(model, coefficients, words):
    with pytest.raises(CameraError, match=words) as caught:
        lens_of(model, coefficients)
    assert caught.value.code == ErrorCode.CAMERA_INVALID


@pytest.mark.parametrize(
    ('k1', 'words'), [(-40.0, 'folds the image'), (300.0, 'of the image: calibrate')]
)
def test_coefficients_that_fold_or_empty_the_image_are_refused(k1, words):
    with pytest.raises(CameraError, match=words):
        rectified(
            torch.zeros(SIZE),
            torch.ones(SIZE, dtype=torch.bool),
            torch.from_numpy(K),
            Lens('plumb_bob', (k1, 0.0, 0.0, 0.0)),
        )


@pytest.mark.parametrize('name', LENSES)
def test_points_of_a_distorted_image_come_to_where_the_rectified_one_has_them(name):
    distorted = distorted_pixels(LENSES[name])
    mirrored = np.array([[-1.0, 0, 199], [0, 1, 0], [0, 0, 1]])
    for pixel_map in (np.eye(3), mirrored):
        camera = pixel_map @ K
        seen = (np.c_[distorted, np.ones(len(distorted))] @ pixel_map.T)[:, :2]
        straight = rectified_points(seen, torch.from_numpy(camera), LENSES[name])
        expected = POINTS @ camera.T
        assert np.abs(straight - expected[:, :2] / expected[:, 2:]).max() < 0.05
