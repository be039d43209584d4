from dataclasses import replace

import pytest
import torch
from network_sizes import TINY_AGNOSTIC

from sph_reg_ros.errors import ConfigError
from sph_reg_ros.geometry import se3
from sph_reg_ros.networks.agnostic import AgnosticRegressor, camera_from_ct
from sph_reg_ros.networks.split_attention import SplitAttention, SplitAttentionBottleneck

NOMINAL = se3.exp(torch.tensor([0.3, -0.2, 0.5, 20.0, -30.0, 700.0], dtype=torch.float64))


def regressor() -> AgnosticRegressor:
    torch.manual_seed(0)
    return AgnosticRegressor(TINY_AGNOSTIC, NOMINAL).eval()


def images(seed: int = 0) -> torch.Tensor:
    return torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(seed))


def volumes(*size: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return 0.02 * torch.rand(2, 1, *(size or (32, 32, 32)), generator=generator)


@pytest.mark.parametrize('size', [(32, 32, 32), (48, 40, 32), (64, 64, 64)], ids=str)
def test_a_ct_of_any_size_gives_rigid_poses_near_the_nominal_view(size):
    poses = regressor()(images(), volumes(*size))
    assert poses.shape == (2, 4, 4) and poses.dtype == torch.float64
    for pose in poses:
        se3.require_rigid(pose, 'pose', 1e-12)
    assert se3.log(poses @ se3.inverse(NOMINAL))[:, :3].abs().max() < 0.05


def test_the_answer_depends_on_both_the_image_and_the_ct():
    network = regressor()
    first = network(images(), volumes())
    assert (first - network(images(1), volumes())).abs().max() > 1e-9
    assert (first - network(images(), 2 * volumes().flip(-1))).abs().max() > 1e-9


def test_all_weights_learn_something_and_no_norm_looks_across_the_batch():
    network = regressor().train()
    # Twice the same pair: dropout alone makes them differ.
    network(images(), volumes())[:, :3].square().sum().backward()
    missing = [
        name
        for name, weight in network.named_parameters()
        if weight.grad is None or not torch.isfinite(weight.grad).all()
    ]
    assert missing == []
    assert not [part for part in network.modules() if 'BatchNorm' in type(part).__name__]


def test_the_middle_of_the_ct_is_put_back():
    centre = torch.tensor([[10.0, -20.0, 300.0], [0.0, 5.0, 6.0]], dtype=torch.float64)
    point = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64)
    poses = camera_from_ct(NOMINAL.expand(2, 4, 4), centre)
    landed = se3.transform_points(poses, point + centre[:, None])
    torch.testing.assert_close(landed, se3.transform_points(NOMINAL, point).expand(2, 1, 3))


def test_split_attention_weighs_its_halves_against_each_other():
    torch.manual_seed(0)
    layer, x = SplitAttention(8), torch.randn(2, 8, 6, 6)
    halves = layer.filters(x).unflatten(1, (2, -1))
    result = layer(x)
    low, high = halves.amin(1), halves.amax(1)
    assert ((result >= low - 1e-6) & (result <= high + 1e-6)).all()
    layer.weigh[-1].bias.data[:8] += 100.0
    torch.testing.assert_close(layer(x), halves[:, 0])


@pytest.mark.parametrize('channels', [1, 6, 16])
def test_a_bottleneck_keeps_the_shape(channels):
    x = torch.randn(2, channels, 5, 7)
    assert SplitAttentionBottleneck(channels)(x).shape == x.shape


@pytest.mark.parametrize(
    'change',
    [
        {'image_size': (16, 16)},
        {'widths': (8,)},
        {'grid': 6},
        {'grid': 0},
        {'grid': 10**9},
        {'dropout': 1.0},
        {'typical_rotation_rad': (0.1, 0.1)},
    ],
    ids=str,
)
def test_sizes_that_cannot_be_built_are_refused(change):
    with pytest.raises(ConfigError):
        replace(TINY_AGNOSTIC, **change)
