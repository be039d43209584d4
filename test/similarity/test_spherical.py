"""The learned similarity keeps the rules of an image similarity, whatever its head."""

import pytest
import torch
from network_sizes import random_encoder
from phantoms import pose_in_front, smooth_phantom
from point_clouds import solve

from sph_reg_ros.errors import ConfigError, ErrorCode, SolverError
from sph_reg_ros.geometry import Camera, se3
from sph_reg_ros.geometry.se3 import TWIST_LENGTH_MM
from sph_reg_ros.networks.encoder_config import HEADS
from sph_reg_ros.networks.normalise import normalise
from sph_reg_ros.rendering.render import render, render_with_jacobian
from sph_reg_ros.similarity.encoded import encoded_residual
from sph_reg_ros.similarity.shifted import SHIFTS_PX, shifted
from sph_reg_ros.similarity.spherical import SCALE, SphericalSimilarity
from sph_reg_ros.solvers import LMConfig

SIZE = (32, 24)
CAMERA = Camera.from_geometry(1000.0, (5.0, 5.0), SIZE)
VOLUME = smooth_phantom()
TRUTH = pose_in_front(VOLUME)
COPIES = len(SHIFTS_PX)
OFFSET = torch.tensor([0.03, 0.02, -0.04, 2.0, 1.0, 6.0], dtype=torch.float64)
BESIDE = se3.apply_twist(OFFSET, TRUTH, VOLUME.centre)


def image(pose: torch.Tensor) -> torch.Tensor:
    """Render with the reference in double precision."""
    return render(VOLUME, pose, CAMERA.K, CAMERA.size, backend='torch').double()


def half_mask() -> torch.Tensor:
    mask = torch.ones(SIZE, dtype=torch.bool)
    mask[:4], mask[20:25, 12:18] = False, False
    return mask


XRAY = image(TRUTH)
MASKS = {'all': None, 'masked': half_mask()}
each_head = pytest.mark.parametrize('head', HEADS)
each_mask = pytest.mark.parametrize('mask', MASKS.values(), ids=MASKS)


def prepared(head: str = 'so4', mask: torch.Tensor | None = None) -> SphericalSimilarity:
    return SphericalSimilarity.prepare(random_encoder(head=head), XRAY, mask)


def rendered(pose: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    _, jacobian = render_with_jacobian(
        VOLUME, pose, CAMERA.K, CAMERA.size, backend='torch', without_ray_motion=False
    )
    return image(pose), jacobian.double()


@each_mask
@each_head
def test_the_jacobian_is_the_derivative_of_the_residual_by_the_pose(head, mask):
    similarity, h = prepared(head, mask), 1e-8
    block = similarity.residuals(*rendered(BESIDE))
    for column in range(6):
        xi = torch.zeros(6, dtype=torch.float64)
        xi[column] = h * (1 if column < 3 else TWIST_LENGTH_MM)
        ahead, behind = (
            similarity.residuals(*rendered(se3.apply_twist(sign * xi, BESIDE, VOLUME.centre)))
            for sign in (1, -1)
        )
        expected = (ahead.residual - behind.residual) / (2 * h)
        error = (block.jacobian[:, column] - expected).norm() / expected.norm()
        # Samples that enter and leave the volume set the limit; the next test is the exact one.
        assert error < 5e-3


@each_mask
@each_head
def test_the_jacobian_is_exact_for_a_rendering_that_changes_linearly(head, mask):
    similarity, h = prepared(head, mask), 1e-6
    y, J = rendered(BESIDE)
    block = similarity.residuals(y, J)
    for column in range(6):
        ahead, behind = (
            similarity.residuals(y + sign * h * J[..., column], J).residual for sign in (1, -1)
        )
        expected = (ahead - behind) / (2 * h)
        assert (block.jacobian[:, column] - expected).norm() / expected.norm() < 1e-7


@each_mask
@each_head
def test_the_score_is_one_minus_half_of_the_cost(head, mask):
    similarity = prepared(head, mask)
    block = similarity.residuals(*rendered(BESIDE))
    score = float(similarity.score(image(BESIDE)[None])[0])
    assert score == pytest.approx(1 - float(block.residual.square().sum()) / 2, abs=1e-12)
    assert score < 1 - 1e-6


@each_head
def test_the_x_ray_itself_scores_one_and_has_a_jacobian(head):
    similarity = prepared(head)
    block = similarity.residuals(*rendered(TRUTH))
    assert float(similarity.score(XRAY[None])[0]) == pytest.approx(1.0, abs=1e-12)
    assert block.residual.abs().max() < 1e-6
    assert torch.isfinite(block.jacobian).all() and block.jacobian.norm() > 1e-3


def test_scores_never_leave_the_range_that_stands_for_images_and_rank_as_costs_do():
    noise = torch.randn(40, *SIZE, generator=torch.Generator().manual_seed(0)).double()
    similarity = prepared()
    scores = similarity.score(noise)
    costs = [similarity.residuals(one, torch.zeros(*SIZE, 6)).residual.norm() for one in noise]
    assert scores.min() > -1 and scores.max() < 1
    assert torch.equal(scores.argsort(descending=True), torch.stack(costs).argsort())


def test_pairs_give_six_residuals_each_that_are_as_long_as_their_distance():
    similarity = prepared()
    block = similarity.residuals(*rendered(BESIDE))
    assert block.residual.shape == (COPIES * 18,) and block.jacobian.shape == (COPIES * 18, 6)
    assert block.cluster.tolist() == [k for k in range(3 * COPIES) for _ in range(6)]
    encoder = random_encoder()
    features = (encoder(normalise(shifted(one))) for one in (image(BESIDE), XRAY))
    distance = encoder.head.squared_distance(*features).mean().sqrt()
    assert float(block.residual.norm()) == pytest.approx(SCALE * float(distance), rel=1e-9)


@each_mask
def test_gain_and_offset_of_the_rendering_do_not_matter(mask):
    similarity = prepared(mask=mask)
    y, J = rendered(BESIDE)
    first, second = similarity.residuals(y, J), similarity.residuals(3 * y - 1, 3 * J)
    torch.testing.assert_close(first.residual, second.residual, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(first.jacobian, second.jacobian, rtol=1e-5, atol=1e-6)


def test_what_the_mask_hides_in_either_image_does_not_matter():
    mask = half_mask()
    hidden = torch.where(mask, XRAY, 1e3)
    y, J = rendered(BESIDE)
    expected = prepared(mask=mask).residuals(y, J).residual
    similarity = SphericalSimilarity.prepare(random_encoder(), hidden, mask)
    found = similarity.residuals(torch.where(mask, y, -50.0), J).residual
    torch.testing.assert_close(found, expected)


def test_a_constant_rendering_has_no_residual_and_the_lowest_score():
    similarity = prepared()
    flat = torch.full(SIZE, 2.0)
    with pytest.raises(SolverError) as caught:
        similarity.residuals(flat, torch.zeros(*SIZE, 6))
    assert caught.value.code is ErrorCode.NO_OVERLAP
    assert similarity.score(torch.stack([flat, XRAY.float()]))[0] == -1


def test_a_constant_x_ray_is_refused():
    with pytest.raises(SolverError) as caught:
        SphericalSimilarity.prepare(random_encoder(), torch.zeros(SIZE))
    assert caught.value.code is ErrorCode.NO_OVERLAP


def test_an_x_ray_of_another_size_is_refused_with_both_sizes():
    with pytest.raises(ConfigError, match=r'\(32, 24\).*\(24, 32\)'):
        SphericalSimilarity.prepare(random_encoder(), XRAY.T)


def test_single_precision_agrees_and_the_result_is_as_precise_as_the_rendering():
    encoder = random_encoder().float()
    y, J = rendered(BESIDE)
    expected = prepared().residuals(y, J)
    found = SphericalSimilarity.prepare(encoder, XRAY).residuals(y.float(), J.float())
    assert found.residual.dtype == found.jacobian.dtype == torch.float32
    torch.testing.assert_close(found.residual.double(), expected.residual, rtol=0, atol=2e-5)
    error = (found.jacobian - expected.jacobian).norm() / expected.jacobian.norm()
    assert error < 1e-4


def test_the_residual_of_a_batch_is_that_of_each_image_and_can_be_back_propagated():
    encoder = random_encoder().requires_grad_(True)
    y, J = rendered(BESIDE)
    images, jacobians = shifted(y), shifted(J.movedim(-1, 0)).movedim(0, -1)
    fixed = encoder(normalise(shifted(XRAY)))
    found = encoded_residual(encoder, images, jacobians, fixed)
    block = prepared().residuals(y, J)
    residual, slope = (SCALE / COPIES**0.5 * part.flatten(0, 1) for part in found)
    torch.testing.assert_close(residual.detach(), block.residual)
    torch.testing.assert_close(slope.detach(), block.jacobian)
    slope.square().sum().backward()
    missing = [name for name, one in encoder.named_parameters() if one.grad is None]
    # An offset of the last layers moves both images alike but not at once: all have a gradient.
    assert missing == []


def test_the_solver_finds_the_pose_by_the_learned_residual_in_a_few_steps():
    """Even an encoder that has learned nothing tells poses apart; it is exact at the truth."""
    similarity = SphericalSimilarity.prepare(random_encoder(), XRAY)

    def move(pose: torch.Tensor, xi: torch.Tensor) -> torch.Tensor:
        twist = torch.cat([xi[..., :3], xi[..., 3:] * TWIST_LENGTH_MM], -1)
        return se3.apply_twist(twist, pose, VOLUME.centre)

    # What comes after twelve steps, if anything does, is rounding.
    config = LMConfig(min_predicted_reduction=0.0, max_iterations=12)
    result = solve(lambda pose: [similarity.residuals(*rendered(pose))], BESIDE, config, step=move)
    assert se3.log(result.pose @ se3.inverse(TRUTH)).abs().max() < 1e-6
