"""The device that is none behaves, and counts, as a GPU would."""

import pytest
import torch
from pretend_device import IS_SUPPORTED, NAME, on_host, pretend_device

pytestmark = pytest.mark.skipif(not IS_SUPPORTED, reason='this torch knows no pretended devices')


@pytest.fixture
def traffic():
    with pretend_device() as counted:
        yield counted


@pytest.mark.parametrize(
    'read',
    [
        float,
        bool,
        torch.Tensor.tolist,
        lambda x: torch.equal(x, x),
        lambda x: x.nonzero(),
        lambda x: x[x > 0],
        lambda x: torch.linalg.inv(x.expand(1, 1)),
    ],
)
def test_whatever_waits_for_a_number_is_counted(traffic, read):
    read(torch.ones(1, device=NAME)[0] if read in (float, bool) else torch.ones(1, device=NAME))
    assert traffic.reads.total() >= 1


@pytest.mark.parametrize(
    'work',
    [
        lambda x: torch.linalg.cholesky_ex(x)[0],
        lambda x: torch.where(x > 0, x, 0.0),
        lambda x: torch.fft.irfft2(torch.fft.rfft2(x)),
        lambda x: torch.nn.functional.conv2d(x[None, None], x[None, None]),
        lambda x: torch.cat([x, x.new_zeros(1, 2)]),
        lambda x: x.sum(0).median(),
    ],
)
def test_what_waits_for_nothing_is_not_counted_and_has_its_numbers(traffic, work):
    host = torch.tensor([[2.0, 0.5], [0.5, 1.0]])
    device = host.to(NAME)
    found = work(device)
    assert found.device.type == NAME
    assert not traffic.reads and not traffic.to_host and traffic.to_device.total() == 1
    assert torch.allclose(on_host(found), work(host))


def test_copies_are_counted_both_ways_by_the_line_that_makes_them(traffic):
    there = torch.ones(3).to(NAME)
    assert torch.equal(there.cpu(), torch.ones(3))
    assert traffic.to_device.total() == traffic.to_host.total() == 1
    assert 'torch.ones(3).to(NAME)' in next(iter(traffic.to_device))


def test_two_devices_do_not_mix_but_for_single_numbers(traffic):
    there = torch.ones(3, device=NAME)
    with pytest.raises(RuntimeError, match='same device'):
        there + torch.ones(3)
    assert on_host(there * torch.tensor(2.0)).tolist() == [2.0, 2.0, 2.0]


def test_numpy_is_refused(traffic):
    with pytest.raises(RuntimeError):
        torch.ones(3, device=NAME).numpy()


def test_changes_in_place_reach_the_whole(traffic):
    there = torch.zeros(2, 2, device=NAME)
    there[0] += 1.0
    there[1, 1] = 3.0
    assert on_host(there).tolist() == [[1.0, 1.0], [0.0, 3.0]]
