"""Residuals of the normalised cross-correlation."""

import pytest
import torch

from sph_reg_ros.errors import ErrorCode, SolverError
from sph_reg_ros.similarity import ncc, ncc_residual

SIZE = (12, 9)


def images(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.rand(2, *SIZE, dtype=torch.float64, generator=generator)
    return a, b, torch.randn(*SIZE, 6, dtype=torch.float64, generator=generator)


def masks() -> list[torch.Tensor | None]:
    mask = torch.ones(SIZE, dtype=torch.bool)
    mask[:, :3] = False
    return [None, mask]


@pytest.mark.parametrize('mask', masks())
def test_the_squared_residual_is_twice_one_minus_ncc(mask):
    a, b, J = images()
    block = ncc_residual(a, b, J, mask)
    kept = (a, b) if mask is None else (a[mask], b[mask])
    expected = float(torch.corrcoef(torch.stack([k.flatten() for k in kept]))[0, 1])
    assert float(block.residual.square().sum()) == pytest.approx(2 * (1 - expected))
    assert ncc(a, b, mask) == pytest.approx(expected)


@pytest.mark.parametrize('mask', masks())
def test_the_jacobian_is_the_derivative_of_the_residual(mask):
    a, b, J = images()
    block, h = ncc_residual(a, b, J, mask), 1e-6
    for column in range(6):
        ahead, behind = (
            ncc_residual(a, b + sign * h * J[..., column], J, mask).residual for sign in (1, -1)
        )
        difference = (ahead - behind) / (2 * h)
        assert torch.allclose(block.jacobian[:, column], difference, atol=1e-8)


def test_gain_and_offset_of_either_image_do_not_matter():
    a, b, J = images()
    plain, changed = ncc_residual(a, b, J), ncc_residual(3 * a + 7, 0.1 * b - 2, 0.1 * J)
    assert torch.allclose(plain.residual, changed.residual)
    assert torch.allclose(plain.jacobian, changed.jacobian)


def test_masked_pixels_have_no_influence():
    a, b, J = images()
    mask = masks()[1]
    damaged = torch.where(mask, a, torch.tensor(1e6, dtype=torch.float64))
    assert torch.equal(
        ncc_residual(a, b, J, mask).residual, ncc_residual(damaged, b, J, mask).residual
    )


def test_residuals_of_one_patch_share_a_cluster_and_others_do_not():
    a = torch.rand(64, 64)
    clusters = ncc_residual(a, torch.rand(64, 64), torch.rand(64, 64, 6)).cluster.reshape(64, 64)
    assert len(clusters.unique()) == 256
    assert len(clusters[:4, :4].unique()) == 1
    assert clusters[3, 3] != clusters[4, 3] and clusters[3, 3] != clusters[3, 4]


def test_a_rendering_that_shows_nothing_is_refused():
    a, b, J = images()
    with pytest.raises(SolverError, match='not in view') as error:
        ncc_residual(a, torch.zeros_like(b), J)
    assert error.value.code == ErrorCode.NO_OVERLAP
