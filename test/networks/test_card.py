import json
from dataclasses import replace

import pytest
from cards import CARD

from sph_reg_ros.errors import ErrorCode, WeightsError
from sph_reg_ros.networks.card import Card


def with_field(name: str, value: object) -> bytes:
    return json.dumps({**json.loads(CARD.to_json()), name: value}).encode()


def refusal(data: bytes) -> str:
    with pytest.raises(WeightsError) as caught:
        Card.from_json(data)
    assert caught.value.code is ErrorCode.WEIGHTS_INVALID
    return str(caught.value)


def test_a_card_survives_the_way_through_json():
    assert Card.from_json(CARD.to_json()) == CARD


@pytest.mark.parametrize('data', [b'', b'no json', b'[1, 2]', b'\xff\xfe', b'[' * 100_000])
def test_what_is_no_json_object_is_refused(data):
    refusal(data)


def test_a_missing_and_an_unknown_field_are_named():
    content = json.loads(CARD.to_json())
    del content['licence']
    assert 'lacks licence' in refusal(json.dumps(content).encode())
    assert 'unknown owner' in refusal(with_field('owner', 'me'))


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('kind', 'detector'),
        ('kind', ['regressor']),
        ('network', []),
        ('ct_hashes', 'abc'),
        ('ct_hashes', [1]),
        ('K', [[1, 0, 0], [0, 1, 0]]),
        ('K', [[1, 0, 0], [0, 1, 0], [0, 0]]),
        ('K', [[1, 0, 0], [0, 1, 0], 'abc']),
        ('K', [1, 2, 3]),
        ('K', [[1, 0, 0], [0, 1, 0], [0, 0, float('nan')]]),
        ('K', {}),
        ('image_size', [64]),
        ('image_size', [64, 0]),
        ('image_size', [64, 64.0]),
        ('training', 3),
        ('data_hash', None),
        ('accuracy', {'corr': 'high'}),
        ('accuracy', {'corr': float('inf')}),
        ('licence', 7),
        ('sha256', 0),
        ('format', 2),
    ],
)
def test_a_field_that_is_not_what_it_should_be_is_refused_by_name(name, value):
    assert name in refusal(with_field(name, value))


def test_what_json_has_no_word_for_is_refused_when_written():
    for value in (float('nan'), object()):
        with pytest.raises(WeightsError):
            replace(CARD, training={'rate': value}).to_json()
