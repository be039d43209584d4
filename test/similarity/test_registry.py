"""What every image similarity must do, whatever its name."""

import pytest
import torch
from phantoms import pose_in_front, smooth_phantom

from sph_reg_ros.errors import ConfigError, ErrorCode, SolverError
from sph_reg_ros.geometry import Camera, se3
from sph_reg_ros.geometry.se3 import TWIST_LENGTH_MM
from sph_reg_ros.rendering.render import render, render_with_jacobian
from sph_reg_ros.similarity import IMAGE_SIMILARITIES, prepare_similarity

NAMES = sorted(IMAGE_SIMILARITIES)
SIZE = 40
CAMERA = Camera.from_geometry(1000.0, (3.0, 3.0), (SIZE, SIZE))
VOLUME = smooth_phantom()
TRUTH = pose_in_front(VOLUME)
OFFSET = torch.tensor([0.03, 0.02, -0.04, 2.0, 1.0, 6.0], dtype=torch.float64)
BESIDE = se3.apply_twist(OFFSET, TRUTH, VOLUME.centre)


def image(pose, dtype=torch.float64) -> torch.Tensor:
    """Render with the reference in double precision."""
    return render(VOLUME, pose, CAMERA.K, CAMERA.size, backend='torch').to(dtype)


def half_mask() -> torch.Tensor:
    mask = torch.ones(SIZE, SIZE, dtype=torch.bool)
    mask[:6], mask[20:25, 28:34] = False, False
    return mask


XRAY = image(TRUTH, torch.float32)
MASKS = {'all': None, 'masked': half_mask()}


@pytest.mark.parametrize('weighted', [False, True])
@pytest.mark.parametrize('mask', MASKS.values(), ids=MASKS)
@pytest.mark.parametrize('name', NAMES)
def test_the_jacobian_is_the_derivative_of_the_residual_by_the_pose(name, mask, weighted):
    similarity = prepare_similarity(name, bent(XRAY, 0.8), mask)
    if weighted:
        similarity = similarity.reweighted(image(BESIDE, torch.float32))
    K, size = CAMERA.K, CAMERA.size
    _, J = render_with_jacobian(VOLUME, BESIDE, K, size, backend='torch', without_ray_motion=False)
    block = similarity.residuals(image(BESIDE), J.double())
    h = 1e-8
    for column in range(6):
        xi = torch.zeros(6, dtype=torch.float64)
        xi[column] = h * (1 if column < 3 else TWIST_LENGTH_MM)
        ahead, behind = (
            similarity.residuals(
                image(se3.apply_twist(sign * xi, BESIDE, VOLUME.centre)), J.double()
            ).residual
            for sign in (1, -1)
        )
        expected = (ahead - behind) / (2 * h)
        error = (block.jacobian[:, column] - expected).norm() / expected.norm()
        # Samples that enter and leave the volume set the limit; the next test is the exact one.
        assert error < 5e-3


@pytest.mark.parametrize('weighted', [False, True])
@pytest.mark.parametrize('mask', MASKS.values(), ids=MASKS)
@pytest.mark.parametrize('name', NAMES)
def test_the_jacobian_is_exact_for_a_rendering_that_changes_linearly(name, mask, weighted):
    similarity = prepare_similarity(name, bent(XRAY, 0.8), mask)
    if weighted:
        similarity = similarity.reweighted(image(BESIDE, torch.float32))
    y = image(BESIDE)
    _, J = render_with_jacobian(VOLUME, BESIDE, CAMERA.K, CAMERA.size, backend='torch')
    J = J.double()
    block, h = similarity.residuals(y, J), 2e-6
    for column in range(6):
        ahead, behind = (
            similarity.residuals(y + sign * h * J[..., column], J).residual for sign in (1, -1)
        )
        expected = (ahead - behind) / (2 * h)
        error = (block.jacobian[:, column] - expected).norm() / expected.norm()
        assert error < 1e-6


@pytest.mark.parametrize('mask', MASKS.values(), ids=MASKS)
@pytest.mark.parametrize('name', NAMES)
def test_the_score_is_one_minus_half_of_the_cost(name, mask):
    similarity = prepare_similarity(name, XRAY, mask)
    for candidate in (similarity, similarity.reweighted(image(BESIDE))):
        other = image(BESIDE)
        block = candidate.residuals(other, torch.zeros(SIZE, SIZE, 6, dtype=torch.float64))
        score = float(candidate.score(other[None])[0])
        assert score == pytest.approx(1 - float(block.residual.square().sum()) / 2, abs=1e-6)
        assert score < 1 - 5e-6


@pytest.mark.parametrize('mask', MASKS.values(), ids=MASKS)
def test_ncc_is_the_correlation_coefficient(mask):
    other = image(BESIDE)
    pairs = torch.stack([XRAY.double(), other])
    pairs = pairs.flatten(1) if mask is None else pairs[:, mask]
    score = prepare_similarity('ncc', XRAY, mask).score(other[None])
    assert float(score[0]) == pytest.approx(float(torch.corrcoef(pairs)[0, 1]), abs=1e-6)


def test_residuals_of_one_patch_share_a_cluster_and_others_do_not():
    x = torch.rand(64, 64, generator=torch.Generator().manual_seed(0))
    cluster = prepare_similarity('ncc', x).residuals(x, torch.zeros(64, 64, 6)).cluster
    cluster = cluster.reshape(64, 64)
    assert len(cluster.unique()) == 256
    assert len(cluster[:4, :4].unique()) == 1
    assert cluster[3, 3] != cluster[4, 3] and cluster[3, 3] != cluster[3, 4]


@pytest.mark.parametrize('name', NAMES)
def test_the_x_ray_itself_scores_one(name):
    score = prepare_similarity(name, XRAY).score(XRAY[None])
    # The intensity map clips the X-ray's extremes, so that it cannot repeat them.
    assert float(score[0]) == pytest.approx(1.0, abs=1e-4 if 'mapped' in name else 2e-6)


@pytest.mark.parametrize('name', NAMES)
def test_gain_and_offset_of_either_image_do_not_matter(name):
    other = image(BESIDE)
    J = torch.randn(SIZE, SIZE, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    plain = prepare_similarity(name, XRAY).residuals(other, J)
    changed = prepare_similarity(name, 2.5 * XRAY + 1).residuals(0.3 * other + 2, 0.3 * J)
    assert torch.allclose(plain.residual, changed.residual, atol=1e-5)
    assert torch.allclose(plain.jacobian, changed.jacobian, atol=1e-4 * float(plain.jacobian.max()))


@pytest.mark.parametrize('name', NAMES)
def test_masked_pixels_have_no_influence(name):
    mask = MASKS['masked']
    other, J = image(BESIDE), torch.ones(SIZE, SIZE, 6, dtype=torch.float64)
    expected = prepare_similarity(name, XRAY, mask).residuals(other, J)
    damaged = torch.where(mask, XRAY, 1e6 * torch.rand(SIZE, SIZE))
    hidden = torch.where(mask, other, 1e4 * torch.rand(SIZE, SIZE).double())
    found = prepare_similarity(name, damaged, mask).residuals(
        hidden, torch.where(mask[..., None], J, 1e4)
    )
    assert torch.allclose(found.residual, expected.residual, atol=1e-12)
    assert torch.allclose(found.jacobian, expected.jacobian, atol=1e-12)
    scores = [prepare_similarity(name, XRAY, mask).score(y[None])[0] for y in (other, hidden)]
    assert float(scores[0]) == pytest.approx(float(scores[1]), abs=1e-9)


@pytest.mark.parametrize('name', NAMES)
def test_a_batch_scores_like_its_images_and_prefers_the_truth(name):
    poses = [BESIDE, TRUTH, se3.apply_twist(4 * OFFSET, TRUTH, VOLUME.centre)]
    images = torch.stack([image(pose, torch.float32) for pose in poses])
    similarity = prepare_similarity(name, bent(XRAY, 0.8))
    scores = similarity.score(images)
    singles = torch.cat([similarity.score(single[None]) for single in images])
    assert torch.allclose(scores, singles, atol=1e-6)
    assert scores[1] > scores[0] > scores[2]


@pytest.mark.parametrize('name', NAMES)
def test_single_precision_is_kept_and_agrees_with_double(name):
    other = image(BESIDE)
    J = torch.randn(SIZE, SIZE, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    similarity = prepare_similarity(name, XRAY)
    double, single = similarity.residuals(other, J), similarity.residuals(other.float(), J.float())
    assert single.residual.dtype == single.jacobian.dtype == torch.float32
    assert torch.allclose(single.residual.double(), double.residual, atol=1e-5)
    scale = float(double.jacobian.abs().max())
    assert torch.allclose(single.jacobian.double(), double.jacobian, atol=1e-5 * scale)


@pytest.mark.parametrize('name', NAMES)
def test_clusters_are_the_patches_of_the_image(name):
    block = prepare_similarity(name, XRAY).residuals(XRAY, torch.zeros(SIZE, SIZE, 6))
    assert block.cluster.shape == block.residual.shape == block.jacobian.shape[:1]
    assert int(block.cluster.min()) >= 0 and int(block.cluster.max()) < 256
    assert len(block.cluster.unique()) > 150


@pytest.mark.parametrize('name', NAMES)
def test_a_rendering_that_shows_nothing_is_refused_and_scores_lowest(name):
    similarity = prepare_similarity(name, XRAY)
    for constant in (0.0, 3.0):
        nothing = torch.full((SIZE, SIZE), constant)
        with pytest.raises(SolverError, match='not in view') as error:
            similarity.residuals(nothing, torch.zeros(SIZE, SIZE, 6))
        assert error.value.code == ErrorCode.NO_OVERLAP
        assert float(similarity.score(nothing[None])[0]) == -1.0


@pytest.mark.parametrize('name', NAMES)
def test_a_constant_x_ray_is_refused(name):
    with pytest.raises(SolverError) as error:
        prepare_similarity(name, torch.full((SIZE, SIZE), 2.0))
    assert error.value.code == ErrorCode.NO_OVERLAP


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match='mapped_ncc') as error:
        prepare_similarity('mutual_information', XRAY)
    assert error.value.code == ErrorCode.CONFIG_INVALID


def bent(x: torch.Tensor, gamma: float) -> torch.Tensor:
    """Return a monotone change of line integrals that keeps the darkest value."""
    return x.max() * (x / x.max()).clamp(min=0) ** gamma
