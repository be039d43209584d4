import json

import pytest
import torch
from torch import nn

from sph_reg_ros.errors import ConfigError, WeightsError
from sph_reg_ros.training import checkpoint
from sph_reg_ros.training.state import State, resumed

IDENTITY = {'kind': 'regressor', 'schedule': {'batch': 4, 'range': (1, 2)}}


def learned(steps: int, seed: int = 0, width: int = 3):
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, 1))
    module.register_buffer('nominal', torch.eye(4, dtype=torch.float64))
    optimiser = torch.optim.AdamW(module.parameters(), 0.1)
    learn(module, optimiser, steps)
    return module, optimiser


def learn(module, optimiser, steps: int) -> None:
    data = torch.randn(8, 4, generator=torch.Generator().manual_seed(1))
    for _ in range(steps):
        optimiser.zero_grad()
        module(data).square().mean().backward()
        optimiser.step()


def test_learning_goes_on_from_a_checkpoint_as_if_nothing_had_happened(tmp_path):
    module, optimiser = learned(5)
    checkpoint.save(tmp_path, module, optimiser, {'step': 5})
    learn(module, optimiser, 5)
    other, fresh = learned(0, seed=9)
    found = checkpoint.load(tmp_path)
    found.restore(other, fresh)
    assert found.state == {'step': 5}
    learn(other, fresh, 5)
    for name, value in module.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name


def test_a_checkpoint_is_a_safetensors_file_and_nothing_else_is_written(tmp_path):
    checkpoint.save(tmp_path, *learned(1), {'step': 1})
    (path,) = tmp_path.iterdir()
    data = path.read_bytes()
    size = int.from_bytes(data[:8], 'little')
    header = json.loads(data[8 : 8 + size])
    assert json.loads(header['__metadata__']['training']) == {'step': 1}
    assert {'weights.0.weight', 'weights.nominal', 'optimiser.0.exp_avg'} <= set(header)


def test_a_checkpoint_that_cannot_be_written_leaves_the_last_one(tmp_path, monkeypatch):
    module, optimiser = learned(1)
    checkpoint.save(tmp_path, module, optimiser, {'step': 1})

    def fail(*_):
        raise OSError('disk full')

    monkeypatch.setattr('os.replace', fail)
    with pytest.raises(OSError, match='full'):
        checkpoint.save(tmp_path, module, optimiser, {'step': 2})
    assert [path.name for path in tmp_path.iterdir()] == [checkpoint.NAME]
    assert checkpoint.load(tmp_path).state == {'step': 1}


def test_a_folder_without_a_checkpoint_has_none(tmp_path):
    assert checkpoint.load(tmp_path) is None and checkpoint.load(tmp_path / 'absent') is None


@pytest.mark.parametrize('kept', [0, 4, 100, -8])
def test_a_file_that_was_cut_off_is_refused(tmp_path, kept):
    checkpoint.save(tmp_path, *learned(1), {'step': 1})
    path = tmp_path / checkpoint.NAME
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(WeightsError, match='cannot be used'):
        checkpoint.load(tmp_path)


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    checkpoint.save(tmp_path, *learned(1), {'step': 1})
    with pytest.raises(WeightsError, match='another network'):
        checkpoint.load(tmp_path).restore(*learned(1, width=5))


def kept(folder, identity=IDENTITY) -> State:
    state = State(step=7, seconds=2.5, accuracy={'mm': 1.0}, sums={'loss': 0.1}, count=3)
    checkpoint.save(folder, *learned(1), state.to_json(identity))
    return state


def test_a_training_goes_on_where_it_was_only_if_asked_to(tmp_path):
    assert resumed(tmp_path, IDENTITY, True) == (State(), None)
    state = kept(tmp_path)
    found, tensors = resumed(tmp_path, IDENTITY, True)
    assert found == state and tensors is not None
    with pytest.raises(ConfigError, match='--resume'):
        resumed(tmp_path, IDENTITY, False)


def test_settings_that_changed_meanwhile_are_named(tmp_path):
    kept(tmp_path)
    other = {'kind': 'regressor', 'schedule': {'batch': 8, 'range': (1, 2)}}
    with pytest.raises(ConfigError, match=r'\(schedule.batch\)'):
        resumed(tmp_path, other, True)


def test_a_header_without_a_training_is_refused(tmp_path):
    checkpoint.save(tmp_path, *learned(1), {'identity': IDENTITY})
    with pytest.raises(WeightsError, match='lacks'):
        resumed(tmp_path, IDENTITY, True)
