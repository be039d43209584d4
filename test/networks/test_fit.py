from dataclasses import replace

import pytest
import torch
from cards import CARD

from sph_reg_ros.geometry import Camera
from sph_reg_ros.networks.fit import camera_of, misfit

CT = CARD.ct_hashes[0]


def scaled(focal: float = 1.0, shift: float = 0.0) -> Camera:
    K = torch.tensor(CARD.K, dtype=torch.float64)
    K[:2, :2] *= focal
    K[0, 2] += shift
    return Camera(K, *CARD.image_size)


def test_the_camera_on_the_card_fits_at_every_resolution():
    camera = camera_of(CARD)
    assert camera.size == CARD.image_size and camera.K.tolist() == [list(row) for row in CARD.K]
    for size in ((32, 32), (1024, 1024), (16, 16)):
        assert misfit(CARD, CT, camera.rescale(*size)) == ''


def test_a_camera_that_hardly_differs_fits():
    assert misfit(CARD, CT, scaled(focal=1.01)) == ''
    assert misfit(CARD, CT, scaled(shift=0.2)) == ''


@pytest.mark.parametrize(
    'camera', [scaled(focal=1.05), scaled(shift=2.0), scaled().flip(horizontal=True)]
)
def test_a_camera_with_another_view_does_not_fit(camera):
    assert 'another camera' in misfit(CARD, CT, camera)


def test_weights_for_one_ct_fit_no_other():
    assert 'another CT' in misfit(CARD, 'ffff', camera_of(CARD))
    assert misfit(replace(CARD, ct_hashes=(CT, 'ffff')), 'ffff', camera_of(CARD)) == ''


def test_weights_that_look_at_the_ct_fit_any():
    assert misfit(replace(CARD, kind='agnostic_regressor'), 'ffff', camera_of(CARD)) == ''
