from dataclasses import replace

import pytest
import torch
from cards import CARD

from sph_reg_ros.geometry import Camera
from sph_reg_ros.networks.fit import camera_of, covered_share, features_are_poses, fits_ct

CT = CARD.ct_hashes[0]
TRAINED = camera_of(CARD)


def test_the_camera_on_the_card_is_that_of_the_images():
    assert TRAINED.size == CARD.image_size and TRAINED.K.tolist() == [list(row) for row in CARD.K]


@pytest.mark.parametrize(
    'camera',
    [
        TRAINED,
        TRAINED.rescale(1024, 1024),
        TRAINED.flip(horizontal=True),
        TRAINED.rotate90(1),
        TRAINED.crop(-8, -8, TRAINED.height + 16, TRAINED.width + 16),
    ],
)
def test_the_same_or_a_larger_field_of_view_covers_all(camera):
    assert covered_share(TRAINED, camera) == 1.0


def test_a_smaller_field_of_view_covers_its_share():
    height, width = TRAINED.size
    half = TRAINED.crop(0, 0, height // 2, width)
    assert covered_share(TRAINED, half) == pytest.approx(0.5, abs=1 / height)
    quarter = TRAINED.crop(height // 4, width // 4, height // 2, width // 2)
    assert covered_share(TRAINED, quarter) == pytest.approx(0.25, abs=2 / height)
    beside = Camera(TRAINED.K - torch.tensor([[0.0, 0, 2 * width], [0, 0, 0], [0, 0, 0]]), 16, 16)
    assert covered_share(TRAINED, beside) == 0.0


def test_weights_for_one_ct_fit_no_other():
    assert fits_ct(CARD, CT) and not fits_ct(CARD, 'ffff')
    assert fits_ct(replace(CARD, ct_hashes=(CT, 'ffff')), 'ffff')


def test_weights_that_look_at_the_ct_fit_any():
    assert fits_ct(replace(CARD, kind='agnostic_regressor'), 'ffff')


@pytest.mark.parametrize(
    ('head', 'pose', 'expected'), [('so4', 0.5, True), ('so4', 0.0, False), ('sphere', 0.5, False)]
)
def test_features_are_poses_if_training_asked_for_it_of_a_head_that_has_them(head, pose, expected):
    training = {'similarity': {'loss': {'pose': pose}}}
    card = replace(CARD, kind='similarity', network={'head': head}, training=training)
    assert features_are_poses(card) is expected


def test_features_are_not_taken_for_poses_where_the_card_says_nothing_of_training():
    assert not features_are_poses(replace(CARD, kind='similarity', network={'head': 'so4'}))
