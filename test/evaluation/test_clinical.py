"""Displays of X-rays: what they do to an image, and what the preparation masks of it."""

import numpy as np
import pytest
import torch

from sph_reg_ros.evaluation.clinical import (
    DISPLAYS,
    Display,
    camera_of,
    clinical_counts,
    displayed,
)
from sph_reg_ros.evaluation.path_cache import PathIntegrals
from sph_reg_ros.geometry import Camera
from sph_reg_ros.imaging.xray.intensity import IntensityModel
from sph_reg_ros.imaging.xray.prepare import prepare_xray

SIZE = (160, 160)


def body() -> PathIntegrals:
    """Return a round soft body that fills the image, with two bones."""
    v, u = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float32)
    soft = 120 + 60 * np.cos(u / 60) * np.cos(v / 80)
    bone = 12 * np.exp(-((u - 60) ** 2) / 200) + 8 * np.exp(-((v - 100) ** 2) / 90)
    return PathIntegrals(soft.astype(np.float32), bone.astype(np.float32))


def mask_of(pixels: np.ndarray, *, bright_air: bool = True, field: bool = False) -> torch.Tensor:
    """Prepare pixels as in use; the search for the field takes a second, so only if asked for."""
    x = torch.from_numpy(pixels.astype(np.float32))
    return prepare_xray(x, IntensityModel(bright_air=bright_air), mask_collimator=field)[1]


COUNTS = clinical_counts(body(), np.random.default_rng(0))


@pytest.mark.parametrize('name', DISPLAYS)
def test_every_display_gives_8_bit_that_can_be_prepared(name):
    display = DISPLAYS[name]
    pixels = displayed(COUNTS, display)
    assert pixels.dtype == np.uint8 and pixels.shape == SIZE
    assert float(mask_of(pixels, bright_air=not display.inverted).float().mean()) > 0.5


def test_bone_is_dark_and_bright_if_inverted():
    bone = body().bone_mm
    for name, sign in (('export', -1), ('inverted', 1)):
        shown = displayed(COUNTS, DISPLAYS[name]).astype(float)
        assert sign * np.corrcoef(shown.ravel(), bone.ravel())[0, 1] > 0.3


def test_edges_stand_out():
    def contrast(display: Display) -> float:
        shown = displayed(COUNTS, display).astype(float)
        return np.abs(np.diff(shown, axis=1)).mean() / shown.std()

    soft = Display(edges=((0.006, 0.0),))
    assert contrast(Display(edges=((0.006, 2.0),))) > 1.5 * contrast(soft)


@pytest.mark.parametrize('name', ['round', 'workstation'])
def test_burned_in_letters_are_masked_with_their_smooth_edges(name):
    display = DISPLAYS[name]
    pixels = displayed(COUNTS, display)
    without = displayed(COUNTS, Display(**{**vars(display), 'text': False}))
    v, u = np.mgrid[: SIZE[0], : SIZE[1]] - (SIZE[0] - 1) / 2
    # Of those at the rim and outside, the mask of the field sees to it.
    well_within = np.hypot(u, v) < 0.44 * SIZE[0]
    letters = torch.from_numpy((np.abs(pixels.astype(int) - without) > 12) & well_within)
    inside = int(letters.sum())
    assert inside > 60, 'no letter lies within the field'
    mask = mask_of(pixels)
    assert int((mask & letters).sum()) < 0.1 * inside
    lost = float((mask_of(without) & ~mask & ~letters).float().mean())
    assert lost < 0.04, 'the mask takes far more than the letters'


def test_outside_a_round_field_nothing_is_compared():
    mask = mask_of(displayed(COUNTS, DISPLAYS['round']), field=True)
    v, u = torch.meshgrid(*(torch.arange(n) - (n - 1) / 2 for n in SIZE), indexing='ij')
    assert not bool(mask[torch.hypot(u, v) > 0.48 * SIZE[0]].any())


def test_the_camera_of_a_turned_display_sees_points_where_it_shows_them():
    camera = Camera.from_geometry(1000.0, (1.0, 1.0), SIZE)
    display = Display(turn_deg=25.0, window=(0.0, 1.0))
    spot = np.full(SIZE, np.exp(-1.0), dtype=np.float32)
    spot[40:43, 100:103] = 1.0
    shown = displayed(spot, display).astype(float)
    shown[shown < 128] = 0.0
    v, u = np.mgrid[: SIZE[0], : SIZE[1]]
    found = np.array([(shown * u).sum(), (shown * v).sum()]) / shown.sum()
    ray = torch.linalg.inv(camera.K) @ torch.tensor([101.0, 41.0, 1.0], dtype=torch.float64)
    expected = camera_of(camera, display).project(500 * ray[None])[0]
    assert found == pytest.approx(expected.numpy(), abs=0.3)


def test_distortion_moves_the_rim_outwards_and_leaves_the_middle():
    v, u = np.mgrid[: SIZE[0], : SIZE[1]]
    middle = (SIZE[0] - 1) / 2
    rings = np.exp(-np.cos(np.hypot(u - middle, v - middle) / 3)).astype(np.float32)
    plain, bent = (displayed(rings, Display(distortion=share)) for share in (0.0, 0.05))
    difference = np.abs(plain.astype(int) - bent)
    assert difference[70:90, 70:90].mean() < 0.2 * difference[:20].mean()
