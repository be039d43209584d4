"""Weights are numbers with a card that fits them, or they are refused."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cards import CARD
from network_sizes import TINY_AGNOSTIC, TINY_ENCODER, TINY_REGRESSOR
from safetensors.torch import load_file, save_file

from sph_reg_ros.errors import ErrorCode, WeightsError
from sph_reg_ros.networks import weights as module
from sph_reg_ros.networks.agnostic import AgnosticRegressor
from sph_reg_ros.networks.card import KINDS
from sph_reg_ros.networks.encoder import SphericalEncoder
from sph_reg_ros.networks.regressor import PoseRegressor
from sph_reg_ros.networks.weights import MAX_HEADER_BYTES, load, save


def network(kind: str = 'regressor') -> torch.nn.Module:
    torch.manual_seed(0)
    if kind == 'similarity':
        return SphericalEncoder(replace(TINY_ENCODER, image_size=(32, 32)))
    if kind == 'agnostic_regressor':
        return AgnosticRegressor(TINY_AGNOSTIC)
    nominal = torch.eye(4, dtype=torch.float64)
    nominal[2, 3] = 700.123456789
    return PoseRegressor(TINY_REGRESSOR, nominal, torch.tensor([1.0, 2.0, 3.0]).double())


@pytest.fixture
def folder(tmp_path):
    save(network(), tmp_path / 'net', CARD)
    return tmp_path / 'net'


def replace_tensors(folder: Path, **changes: torch.Tensor | None) -> None:
    """Write other tensors with a card that vouches for them."""
    path = folder / 'model.safetensors'
    tensors = {**load_file(path), **changes}
    save_file({name: value for name, value in tensors.items() if value is not None}, path)
    vouch(folder)


def vouch(folder: Path, **changes: object) -> None:
    card = json.loads((folder / 'card.json').read_text())
    card['sha256'] = hashlib.sha256((folder / 'model.safetensors').read_bytes()).hexdigest()
    (folder / 'card.json').write_text(json.dumps({**card, **changes}))


def refusal(path: Path) -> ErrorCode:
    with pytest.raises(WeightsError) as caught:
        load(path)
    return caught.value.code


@pytest.mark.parametrize('kind', KINDS)
def test_a_network_comes_back_as_it_was_saved_and_ready_to_use(tmp_path, kind):
    saved = network(kind)
    written = save(saved, tmp_path / 'a' / 'b', CARD)
    loaded, card = load(tmp_path / 'a' / 'b')
    assert card == written and card.kind == kind and type(loaded) is type(saved)
    assert loaded.config == saved.config
    for (name, one), (other_name, other) in zip(
        saved.state_dict().items(), loaded.state_dict().items(), strict=True
    ):
        assert name == other_name and torch.equal(one, other) and one.dtype == other.dtype
    assert not loaded.training and not any(one.requires_grad for one in loaded.parameters())


def test_the_card_vouches_for_the_file(folder):
    _, card = load(folder)
    assert card == load(folder / 'model.safetensors')[1]
    data = (folder / 'model.safetensors').read_bytes()
    assert card.sha256 == hashlib.sha256(data).hexdigest()
    assert card.accuracy == CARD.accuracy


@pytest.mark.parametrize('suffix', ['.pt', '.pth', '.pkl', '.npz', ''])
def test_formats_that_can_run_code_are_refused_without_being_opened(tmp_path, suffix):
    assert refusal(tmp_path / f'net{suffix}') is ErrorCode.WEIGHTS_INVALID


def test_a_pickle_under_the_right_name_is_refused(folder):
    (folder / 'model.safetensors').write_bytes(b'\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00.')
    vouch(folder)
    assert refusal(folder) is ErrorCode.WEIGHTS_INVALID


@pytest.mark.parametrize('name', ['model.safetensors', 'card.json'])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    assert refusal(folder) is ErrorCode.WEIGHTS_MISSING
    with pytest.raises(WeightsError, match=name):
        load(folder)


@pytest.mark.parametrize('place', [0, 9, 200, -1])
def test_a_single_changed_byte_is_found(folder, place):
    path = folder / 'model.safetensors'
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    assert refusal(folder) is ErrorCode.WEIGHTS_INVALID


@pytest.mark.parametrize('size', [0, 4, 8, 20, -1])
def test_a_file_that_is_cut_off_is_refused_even_with_a_card_that_vouches_for_it(folder, size):
    path = folder / 'model.safetensors'
    path.write_bytes(path.read_bytes()[:size])
    vouch(folder)
    assert refusal(folder) is ErrorCode.WEIGHTS_INVALID


@pytest.mark.parametrize('header', [b'[]', b'{"a": ', b'{"a": 3}', b'{"a": {"dtype": "F32"}}'])
def test_a_broken_header_is_refused_even_with_a_card_that_vouches_for_it(folder, header):
    path = folder / 'model.safetensors'
    path.write_bytes(len(header).to_bytes(8, 'little') + header + bytes(4))
    vouch(folder)
    assert refusal(folder) is ErrorCode.WEIGHTS_INVALID


def test_a_header_that_claims_to_be_huge_is_not_parsed(folder):
    path = folder / 'model.safetensors'
    path.write_bytes((MAX_HEADER_BYTES + 1).to_bytes(8, 'little') + path.read_bytes()[8:])
    vouch(folder)
    with pytest.raises(WeightsError, match='claims'):
        load(folder)


def test_a_file_that_is_too_large_is_not_read(folder, monkeypatch):
    monkeypatch.setattr(module, 'MAX_FILE_BYTES', 100)
    with pytest.raises(WeightsError, match='more than 100 bytes'):
        load(folder)


@pytest.mark.parametrize(
    'changes',
    [
        {'last.bias': None},
        {'last.more': torch.zeros(6)},
        {'last.bias': torch.zeros(7)},
        {'last.bias': torch.zeros(6, 1)},
        {'last.bias': torch.zeros(6, dtype=torch.float64)},
    ],
    ids=['missing', 'unknown', 'longer', 'shaped', 'precise'],
)
def test_tensors_that_do_not_fit_the_network_are_named(folder, changes):
    replace_tensors(folder, **changes)
    with pytest.raises(WeightsError, match=next(iter(changes))):
        load(folder)


def test_weights_that_are_no_numbers_are_neither_read_nor_written(folder):
    replace_tensors(folder, **{'last.bias': torch.tensor([0, 1, 2, 3, 4, torch.nan])})
    assert refusal(folder) is ErrorCode.WEIGHTS_INVALID
    broken = network()
    with torch.no_grad():
        broken.head.nominal[0, 0] = torch.inf
    with pytest.raises(WeightsError, match=r'head\.nominal'):
        save(broken, folder, CARD)


def test_a_nominal_view_that_is_no_pose_is_refused(folder):
    replace_tensors(folder, **{'head.nominal': torch.zeros(4, 4, dtype=torch.float64)})
    with pytest.raises(WeightsError, match='nominal'):
        load(folder)


@pytest.mark.parametrize(
    'network_of_card',
    [{'widths': [10**9] * 4}, {'depths': [10**9] * 4}, {'colour': 3}, {'widths': 'wide'}],
    ids=str,
)
def test_a_card_that_describes_an_impossible_network_is_refused(folder, network_of_card):
    vouch(folder, network=network_of_card)
    assert refusal(folder) is ErrorCode.WEIGHTS_INVALID


def test_a_card_for_another_image_size_than_its_network_is_refused(folder):
    vouch(folder, image_size=[64, 64])
    with pytest.raises(WeightsError, match='two image sizes'):
        load(folder)


def test_nothing_is_written_if_the_card_cannot_be(folder):
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(WeightsError):
        save(network('similarity'), folder, replace(CARD, training={'rate': float('nan')}))
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_weights_can_be_read_by_everybody(folder):
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o644}
