"""Normal equations of rows of poses, against sums over the residuals of each."""

import pytest
import torch

from sph_reg_ros.similarity import (
    IMAGE_SIMILARITIES,
    NormalEquations,
    ResidualBlock,
    Robust,
    RobustKernel,
    gram,
    of_blocks,
    prepare_similarity,
    sum_of,
)
from sph_reg_ros.similarity.patches import PATCHES
from sph_reg_ros.similarity.robust import kernel_width, reweighted, robust_cost

NAMES = sorted(IMAGE_SIMILARITIES)
SIZE, ROWS, UNKNOWNS = (44, 37), 3, 7
GENERATOR = torch.Generator().manual_seed(5)


def smooth(*shape: int) -> torch.Tensor:
    """Return random images [..., H, W] that are smooth, as renderings are."""
    coarse = torch.randn(1, max(1, torch.Size(shape[:-2]).numel()), 9, 8, generator=GENERATOR)
    fine = torch.nn.functional.interpolate(coarse, shape[-2:], mode='bicubic')
    return fine.reshape(shape)


XRAY = smooth(*SIZE)
RENDERINGS = 4.0 + XRAY + 0.5 * smooth(ROWS, *SIZE)
JACOBIANS = smooth(ROWS, UNKNOWNS, *SIZE).movedim(1, -1).contiguous() + 0.1
MASK = torch.ones(SIZE, dtype=torch.bool)
MASK[:5], MASK[20:26, 10:19] = False, False
MASKS = {'all': None, 'masked': MASK}


def prepared(name: str, mask, weighted: bool):
    similarity = prepare_similarity(name, XRAY, mask)
    return similarity.reweighted(RENDERINGS[0]) if weighted else similarity


def blocks_of(similarity) -> list[ResidualBlock]:
    return [
        similarity.residuals(image, J)
        for image, J in zip(RENDERINGS.double(), JACOBIANS.double(), strict=True)
    ]


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize('compiled', [True, False], ids=['compiled', 'torch'])
@pytest.mark.parametrize('weighted', [False, True])
@pytest.mark.parametrize('mask', MASKS.values(), ids=MASKS)
@pytest.mark.parametrize('name', NAMES)
def test_cost_gradient_and_matrix_are_sums_over_the_residuals(
    name, mask, weighted, compiled, monkeypatch
):
    similarity = prepared(name, mask, weighted)
    monkeypatch.setattr(gram, 'runs_compiled', lambda images: compiled)
    found = similarity.normal_equations(RENDERINGS, JACOBIANS, patches=True)
    assert found.hessian.dtype == found.gradient.dtype == found.cost.dtype == torch.float64
    assert bool(found.valid.all())
    for row, block in enumerate(blocks_of(similarity)):
        J, r = block.jacobian, block.residual
        assert error(found.cost[row], r @ r) < 1e-5
        assert error(found.gradient[row], J.T @ r) < 1e-5
        assert error(found.hessian[row], J.T @ J) < 1e-5
        sums = torch.zeros(PATCHES**2, UNKNOWNS, dtype=torch.float64)
        sums.index_add_(0, block.cluster, J * r[:, None])
        assert error(found.patch_gradients[row], sums) < 1e-5
    scores = similarity.score(RENDERINGS).double()
    assert torch.allclose(found.cost, 2 * (1 - scores), atol=2e-6)


@pytest.mark.parametrize('name', NAMES)
def test_a_row_that_shows_nothing_is_not_valid_and_harms_no_other(name):
    similarity = prepare_similarity(name, XRAY, MASK)
    renderings = RENDERINGS.clone()
    renderings[1] = 3.0
    found, whole = (
        similarity.normal_equations(images, JACOBIANS, patches=True)
        for images in (renderings, RENDERINGS)
    )
    assert found.valid.tolist() == [True, False, True]
    assert found.cost[1] == float('inf')
    for figure in (found.gradient, found.hessian, found.patch_gradients):
        assert not figure[1].any()
    for row in (0, 2):
        assert torch.allclose(found.hessian[row], whole.hessian[row], rtol=1e-9)


@pytest.mark.parametrize('kernel', [RobustKernel.HUBER, RobustKernel.CAUCHY, RobustKernel.TUKEY])
@pytest.mark.parametrize('name', ['ncc', 'mapped_ncc+gradient', 'local_ncc'])
def test_a_robust_kernel_weights_residuals_and_compares_by_the_widths_that_are_given(name, kernel):
    similarity = prepare_similarity(name, XRAY)
    given = torch.full((ROWS, 1), 0.01, dtype=torch.float64)
    found = similarity.normal_equations(RENDERINGS, JACOBIANS, Robust(kernel, given))
    own = similarity.normal_equations(RENDERINGS, JACOBIANS, Robust(kernel))
    assert torch.equal(own.compared_cost, own.cost)
    for row, block in enumerate(blocks_of(similarity)):
        width = kernel_width(block, kernel)
        weighted = reweighted(block, kernel, width)
        J = block.jacobian
        assert error(found.robust.widths[row, 0], width) < 1e-4
        assert error(found.cost[row], robust_cost(block, kernel, width)) < 1e-4
        assert error(found.compared_cost[row], robust_cost(block, kernel, given[row, 0])) < 1e-4
        assert error(found.plain_cost[row], block.residual.square().sum()) < 1e-4
        assert error(found.hessian[row], J.T @ (weighted.weight[:, None] * J)) < 1e-4
        assert error(found.gradient[row], J.T @ (weighted.weight * block.residual)) < 1e-4
        assert not torch.allclose(found.information[row], found.hessian[row], rtol=0.01)


def test_without_a_kernel_all_costs_are_one_and_the_matrix_is_the_information():
    found = prepare_similarity('ncc', XRAY).normal_equations(RENDERINGS, JACOBIANS)
    assert found.robust is None and found.patch_gradients is None
    assert found.plain_cost is found.compared_cost is found.cost
    assert found.information is found.hessian


def test_parts_add_up_and_other_unknowns_are_a_change_of_columns():
    first, second = (
        prepare_similarity(name, XRAY).normal_equations(RENDERINGS, JACOBIANS, patches=True)
        for name in ('ncc', 'gradient_ncc')
    )
    total = sum_of([first, second])
    assert torch.allclose(total.hessian, first.hessian + second.hessian)
    assert torch.allclose(total.gradient, first.gradient + second.gradient)
    assert torch.allclose(total.cost, first.cost + second.cost)
    turn = torch.randn(UNKNOWNS, 4, generator=GENERATOR)
    turned = prepare_similarity('ncc', XRAY).normal_equations(
        RENDERINGS, JACOBIANS @ turn, patches=True
    )
    changed = first.of_unknowns(turn)
    assert error(changed.gradient, turned.gradient) < 1e-5
    assert error(changed.hessian, turned.hessian) < 1e-5
    assert error(changed.patch_gradients, turned.patch_gradients) < 1e-5


def test_a_sum_is_valid_where_all_parts_are():
    def rows(*valid: bool) -> NormalEquations:
        one = torch.ones(1, dtype=torch.float64)
        block = ResidualBlock(one, torch.ones(1, 6, dtype=torch.float64), torch.zeros(1).long())
        return of_blocks([block if row else None for row in valid], 6)

    total = sum_of([rows(True, False, True), rows(True, True, False)])
    assert total.valid.tolist() == [True, False, False]
    assert total.cost.tolist() == [2.0, float('inf'), float('inf')]
