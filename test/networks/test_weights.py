"""Weights are numbers with a card, or they are refused."""

import json
from pathlib import Path

import pytest

from sph_reg_ros.errors import ErrorCode, WeightsError
from sph_reg_ros.networks.weights import MAX_HEADER_BYTES, read_weights

HEADER = json.dumps(
    {'__metadata__': {'a': 'b'}, 'layer': {'dtype': 'F32', 'shape': [1], 'data_offsets': [0, 4]}}
).encode()


def write(folder: Path, header: bytes = HEADER, card: str = '{"method": "image"}') -> Path:
    path = folder / 'net.safetensors'
    path.write_bytes(len(header).to_bytes(8, 'little') + header + bytes(4))
    path.with_suffix('.json').write_text(card)
    return path


def refusal(path: Path) -> ErrorCode:
    with pytest.raises(WeightsError) as caught:
        read_weights(path)
    return caught.value.code


def test_a_file_with_its_card_is_read(tmp_path):
    weights = read_weights(write(tmp_path))
    assert weights.card == {'method': 'image'} and weights.tensors == ('layer',)


@pytest.mark.parametrize('suffix', ['.pt', '.pth', '.pkl', '.npz', ''])
def test_formats_that_can_run_code_are_refused_without_being_opened(tmp_path, suffix):
    assert refusal(tmp_path / f'net{suffix}') == ErrorCode.WEIGHTS_INVALID


def test_a_missing_file_is_named(tmp_path):
    assert refusal(tmp_path / 'net.safetensors') == ErrorCode.WEIGHTS_MISSING


def test_a_missing_card_is_named(tmp_path):
    path = write(tmp_path)
    path.with_suffix('.json').unlink()
    assert refusal(path) == ErrorCode.WEIGHTS_MISSING


@pytest.mark.parametrize('card', ['', 'no json', '[1, 2]', '[' * 100_000])
def test_a_broken_card_is_refused(tmp_path, card):
    assert refusal(write(tmp_path, card=card)) == ErrorCode.WEIGHTS_INVALID


@pytest.mark.parametrize('header', [b'', b'\x80\x04.', b'[]', b'{"a": '])
def test_a_broken_header_is_refused(tmp_path, header):
    assert refusal(write(tmp_path, header)) == ErrorCode.WEIGHTS_INVALID


def test_a_header_that_claims_to_be_huge_is_not_read(tmp_path):
    path = write(tmp_path)
    path.write_bytes((MAX_HEADER_BYTES + 1).to_bytes(8, 'little') + HEADER)
    assert refusal(path) == ErrorCode.WEIGHTS_INVALID


def test_a_file_that_is_cut_off_is_refused(tmp_path):
    path = write(tmp_path)
    path.write_bytes(path.read_bytes()[:20])
    assert refusal(path) == ErrorCode.WEIGHTS_INVALID
