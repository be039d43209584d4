from dataclasses import replace

import pytest
import torch
from network_sizes import TINY_ENCODER, TINY_REGRESSOR, random_encoder
from torch import nn
from torch.func import jvp, vmap

from sph_reg_ros.errors import ConfigError
from sph_reg_ros.geometry import se3, so4
from sph_reg_ros.networks.encoder import SphericalEncoder
from sph_reg_ros.networks.encoder_config import PAPER, QUICK, EncoderConfig
from sph_reg_ros.networks.regressor import PoseRegressor

VARIANTS = {
    'so4': {},
    'sphere': {'head': 'sphere'},
    'euclidean': {'head': 'euclidean'},
    'flatten': {'pooling': 'flatten'},
    'no_transformer': {'transformer_blocks': 0},
    'resnet': {'trunk': 'resnet', 'image_size': (32, 24)},
}
SHAPES = {'so4': (2, 3, 2, 4), 'sphere': (2, 24), 'euclidean': (2, 24)}


def images(seed: int = 0, *lead: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, *lead, 1, 32, 24, generator=generator).double()


@pytest.mark.parametrize('name', SHAPES)
def test_features_are_what_the_head_says(name):
    features = random_encoder(**VARIANTS[name])(images())
    assert features.shape == SHAPES[name] and torch.isfinite(features).all()
    if name != 'euclidean':
        lengths = features.norm(dim=-1)
        torch.testing.assert_close(lengths, torch.ones_like(lengths))


@pytest.mark.parametrize('name', VARIANTS)
def test_the_jacobian_by_push_and_by_torchs_forward_mode_is_that_of_differences(name):
    encoder, x, tangents = random_encoder(**VARIANTS[name]), images(), images(1, 6)
    value, slopes = encoder.push(x, tangents)
    slopes_by_torch = vmap(
        lambda tangent: jvp(encoder.raw, (x,), (tangent,))[1], 1, 1, chunk_size=4
    )(tangents)
    torch.testing.assert_close(value, encoder.raw(x))
    torch.testing.assert_close(slopes, slopes_by_torch)
    for column in range(6):
        ahead, behind = (encoder.raw(x + h * tangents[:, column]) for h in (1e-6, -1e-6))
        torch.testing.assert_close(slopes[:, column], (ahead - behind) / 2e-6, rtol=1e-6, atol=1e-6)
    assert slopes.norm() > 1e-2


def test_an_untrained_encoder_puts_all_images_near_each_other_but_not_on_each_other():
    torch.manual_seed(0)
    encoder = SphericalEncoder(TINY_ENCODER).double()
    first, second = encoder(images())
    distance = float(encoder.head.squared_distance(first, second).detach().sqrt())
    assert 1e-3 < distance < 1


def test_an_image_is_encoded_alike_whatever_is_beside_it_in_the_batch():
    encoder = random_encoder().train()
    torch.testing.assert_close(encoder(images())[:1], encoder(images()[:1]))
    assert not [part for part in encoder.modules() if 'BatchNorm' in type(part).__name__]


def test_places_are_told_apart():
    encoder = random_encoder()
    assert (encoder.raw(images()) - encoder.raw(images().flip(-1))).abs().max() > 1e-3


def test_double_backward_gives_the_gradient_of_an_image_gradient():
    encoder = random_encoder().requires_grad_(True)
    fixed = encoder(images(1)).detach()

    def squared_slope() -> torch.Tensor:
        x = images().requires_grad_()
        distance = encoder.head.squared_distance(encoder(x), fixed).sum()
        (slope,) = torch.autograd.grad(distance, x, create_graph=True)
        return slope.square().sum()

    weight = encoder.body[0][0].weight
    (gradient,) = torch.autograd.grad(squared_slope(), weight)
    values = []
    for change in (1e-5, -2e-5):
        with torch.no_grad():
            weight[0, 0, 0, 0] += change
        values.append(float(squared_slope().detach()))
    expected = (values[0] - values[1]) / 2e-5
    assert float(gradient[0, 0, 0, 0]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize('config', [PAPER, QUICK], ids=['paper', 'quick'])
def test_the_sizes_that_ship_can_be_built(config):
    with torch.device('meta'):
        encoder = SphericalEncoder(config)
    weights = sum(parameter.numel() for parameter in encoder.parameters())
    assert 50_000 < weights < 4_000_000
    assert config.tokens == {(256, 256): 256, (64, 64): 4}[config.image_size]
    assert not [
        part for part in encoder.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)
    ]


@pytest.mark.parametrize(
    'change',
    [
        {'head': 'so3'},
        {'pooling': 'max'},
        {'trunk': 'vgg'},
        {'pairs': 0},
        {'pairs': 10**9},
        {'stem_kernel': 4},
        {'stem_stride': 0},
        {'widths': (8, 10**9)},
        {'widths': ()},
        {'depths': (1,)},
        {'depths': (1, 10**9)},
        {'attention_heads': 5},
        {'attention_heads': 0},
        {'expansion': 0},
        {'image_size': (32, 30)},
        {'image_size': (0, 32)},
        {'transformer_blocks': -1},
    ],
    ids=str,
)
def test_sizes_that_cannot_be_built_are_refused(change):
    with pytest.raises(ConfigError):
        replace(TINY_ENCODER, **change)


def test_the_default_is_the_size_of_the_paper():
    assert EncoderConfig() == PAPER


def test_an_encoder_begins_with_the_filters_of_a_regressor():
    """Its trunk maps images to what the regressor's makes of them."""
    config = EncoderConfig(
        image_size=(32, 32),
        trunk='resnet',
        pairs=3,
        widths=TINY_REGRESSOR.widths,
        depths=TINY_REGRESSOR.depths,
        attention_heads=2,
    )
    encoder = SphericalEncoder(config)
    torch.manual_seed(1)
    regressor = PoseRegressor(TINY_REGRESSOR)
    with torch.no_grad():
        for parameter in regressor.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    encoder.begin_with(regressor)
    x = torch.randn(3, 1, 32, 32)
    torch.testing.assert_close(encoder.body[0](x), regressor.trunk(x))


def test_an_encoder_of_other_sizes_does_not_begin_with_a_regressor():
    encoder = SphericalEncoder(replace(TINY_ENCODER, trunk='resnet'))
    with pytest.raises(ConfigError, match='trunk must be a resnet of the same widths'):
        encoder.begin_with(PoseRegressor(TINY_REGRESSOR))
    with pytest.raises(ConfigError):
        SphericalEncoder(TINY_ENCODER).begin_with(PoseRegressor(TINY_REGRESSOR))


def test_an_encoder_that_begins_with_a_regressor_encodes_the_pose_that_it_finds():
    config = EncoderConfig(
        image_size=(32, 32), trunk='resnet', widths=TINY_REGRESSOR.widths, depths=(1, 1, 1, 1)
    )
    torch.manual_seed(2)
    centre = torch.tensor([3.0, -20.0, 100.0], dtype=torch.float64)
    nominal = se3.exp(torch.tensor([0.4, 1.0, -0.2, 30.0, 5.0, 600.0], dtype=torch.float64))
    regressor = PoseRegressor(TINY_REGRESSOR, nominal, centre)
    torch.nn.init.normal_(regressor.last.weight, std=0.5)
    encoder = SphericalEncoder(config)
    encoder.begin_with(regressor)
    images = torch.randn(8, 1, 32, 32)
    with torch.no_grad():
        poses, features = regressor(images), encoder(images).double()
    expected = so4.pose_embedding(poses, nominal, centre)[:, None]
    reach = so4.distance(expected, so4.pose_embedding(nominal, nominal, centre))
    apart = so4.distance(features, expected)
    assert reach.min() > 0.05
    assert (apart / reach).median() < 0.1
