"""A card for tests."""

from sph_reg_ros.networks.card import Card

CARD = Card(
    kind='regressor',
    network={},
    ct_hashes=('0123456789abcdef',),
    K=((1000.0, 0.0, 15.5), (0.0, 1000.0, 15.5), (0.0, 0.0, 1.0)),
    image_size=(32, 32),
    training={'steps': 10, 'seed': 0},
    data_hash='fedcba',
    accuracy={'median_mtre_mm': 3.5},
    licence='Apache-2.0',
    description='a test',
)
