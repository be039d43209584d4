"""Every layer's `push` against torch's own forward mode."""

import pytest
import torch
from torch import nn
from torch.func import jvp, vmap

from sph_reg_ros.networks import layers, smoothing, trunk
from sph_reg_ros.networks.encoder import AllTokens, MeanOfTokens, Tokens

IMAGE, TOKENS = (6, 8, 8), (10, 6)
LAYERS = {
    'convolution': (lambda: layers.Convolution(6, 4, 3, 2, 1), IMAGE),
    'depthwise': (lambda: layers.Convolution(6, 6, 3, padding=1, groups=6), IMAGE),
    'image_norm': (lambda: layers.ImageNorm(6), IMAGE),
    'tokens': (lambda: Tokens(64, 6), IMAGE),
    'linear': (lambda: layers.Linear(6, 5), TOKENS),
    'gelu': (layers.GELU, TOKENS),
    'token_norm': (lambda: layers.TokenNorm(6), TOKENS),
    'attention': (lambda: layers.Attention(6, 3), TOKENS),
    'group_norm': (lambda: trunk.GroupNorm(3, 6), IMAGE),
    'relu': (trunk.ReLU, IMAGE),
    'smoothed_pool': (smoothing.SmoothedPool, IMAGE),
    'smoothed_convolution': (lambda: smoothing.SmoothedConvolution(6, 4, 3, 2, 1), IMAGE),
    'block': (lambda: trunk.Block(6, 6, 1), IMAGE),
    'block_with_other_sizes': (lambda: trunk.Block(6, 8, 2), IMAGE),
    'mean': (MeanOfTokens, TOKENS),
    'all': (AllTokens, TOKENS),
    'residual': (lambda: layers.Residual(layers.Linear(6, 6), layers.GELU()), TOKENS),
    'chain': (lambda: layers.Chain(layers.GELU(), layers.Linear(6, 2)), TOKENS),
}


def built(name: str) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    make, shape = LAYERS[name]
    layer = make().double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    return layer, torch.randn(2, *shape).double(), torch.randn(2, 3, *shape).double()


@pytest.mark.parametrize('name', LAYERS)
def test_tangents_are_those_of_torchs_forward_mode(name):
    layer, value, tangents = built(name)
    output, slopes = layer.push(value, tangents)
    expected, expected_slopes = vmap(
        lambda tangent: jvp(layer, (value,), (tangent,)), in_dims=1, out_dims=(None, 1)
    )(tangents)
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(slopes, expected_slopes)
    assert slopes.abs().max() > 1e-3


def test_attention_is_that_of_torch():
    layer, value, _ = built('attention')
    reference = nn.MultiheadAttention(6, 3, batch_first=True).double()
    reference.in_proj_weight, reference.in_proj_bias = layer.to_qkv.weight, layer.to_qkv.bias
    reference.out_proj.weight, reference.out_proj.bias = layer.out.weight, layer.out.bias
    torch.testing.assert_close(layer(value), reference(value, value, value)[0])


def test_tangents_can_be_back_propagated_to_the_weights():
    layer, value, tangents = built('attention')
    weight = layer.to_qkv.weight

    def total(change: float) -> torch.Tensor:
        with torch.no_grad():
            weight[0, 0] += change
        return layer.push(value, tangents)[1].square().sum()

    total(0.0).backward()
    ahead, behind = (float(total(h).detach()) for h in (1e-5, -2e-5))
    assert float(weight.grad[0, 0]) == pytest.approx((ahead - behind) / 2e-5, rel=1e-6)
