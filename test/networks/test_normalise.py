import pytest
import torch
from torch.func import jvp

from sph_reg_ros.networks.normalise import is_constant, normalise


def images() -> torch.Tensor:
    return 3 + torch.rand(2, 12, 16, generator=torch.Generator().manual_seed(0)).double()


def half() -> torch.Tensor:
    mask = torch.zeros(2, 12, 16, dtype=torch.bool)
    mask[0, :, :8], mask[1, 3:] = True, True
    return mask


@pytest.mark.parametrize('mask', [None, half()], ids=['all', 'masked'])
def test_mean_is_zero_and_deviation_one_inside_and_all_is_zero_outside(mask):
    result = normalise(images(), mask)
    assert result.shape == (2, 1, 12, 16)
    usable = torch.ones(2, 12, 16, dtype=torch.bool) if mask is None else mask
    for image, inside in zip(result[:, 0], usable, strict=True):
        assert abs(float(image[inside].mean())) < 1e-12
        assert float(image[inside].std(correction=0)) == pytest.approx(1, abs=1e-6)
        assert not image[~inside].any()


def test_gain_and_offset_do_not_matter():
    torch.testing.assert_close(
        normalise(5 * images() - 2, half()), normalise(images(), half()), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize('hidden', [0.0, 1e6, float('inf'), float('nan')])
def test_what_the_mask_hides_leaves_no_trace(hidden):
    changed = torch.where(half(), images(), hidden)
    assert torch.equal(normalise(changed, half()), normalise(images(), half()))


def test_the_derivative_is_that_of_differences():
    direction = torch.randn(2, 12, 16, generator=torch.Generator().manual_seed(1)).double()
    _, slope = jvp(lambda x: normalise(x, half()), (images(),), (direction,))
    ahead, behind = (normalise(images() + h * direction, half()) for h in (1e-6, -1e-6))
    torch.testing.assert_close(slope, (ahead - behind) / 2e-6, rtol=0, atol=1e-8)


def test_a_constant_image_stays_finite_and_is_known():
    flat = torch.full((1, 8, 8), 4.2)
    assert normalise(flat).abs().max() < 0.1
    assert bool(is_constant(flat))
    assert is_constant(images()).tolist() == [False, False]


def test_an_image_that_shows_something_only_outside_the_mask_is_constant():
    image = torch.ones(1, 8, 8)
    image[:, 5:] = torch.rand(3, 8, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(1, 8, 8, dtype=torch.bool)
    mask[:, :5] = True
    assert bool(is_constant(image, mask)) and not bool(is_constant(image, ~mask))
    assert bool(is_constant(image, torch.zeros_like(mask)))
