"""What a bent, scattered and partly covered X-ray costs each similarity, in millimetres."""

import pytest
import torch
from phantoms import pose_in_front

from sph_reg_ros.geometry import Camera, se3
from sph_reg_ros.geometry.se3 import TWIST_LENGTH_MM
from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.rendering.render import render, render_with_jacobian
from sph_reg_ros.similarity import ImageSimilarity, prepare_similarity
from sph_reg_ros.solvers import LMConfig, levenberg_marquardt

SIZE = 64
CAMERA = Camera.from_geometry(1000.0, (1.9, 1.9), (SIZE, SIZE))


def bones() -> AttenuationVolume:
    """Return a body of soft tissue with bones that have edges."""
    n = 40
    z, y, x = torch.meshgrid(*[torch.linspace(-1, 1, n)] * 3, indexing='ij')
    generator = torch.Generator().manual_seed(4)
    mu = torch.where(x**2 + 1.3 * y**2 + z**2 < 0.9, 0.01, 0.0)
    for _ in range(9):
        a, b, c = (1.2 * torch.rand(3, generator=generator) - 0.6).tolist()
        p, q, r = (0.06 + 0.25 * torch.rand(3, generator=generator)).tolist()
        mu[((x - a) / p) ** 2 + ((y - b) / q) ** 2 + ((z - c) / r) ** 2 < 1] = 0.04
    affine = torch.diag(torch.tensor([2.5, 2.5, 2.5, 1.0], dtype=torch.float64))
    return AttenuationVolume(mu, affine)


VOLUME = bones()
TRUTH = pose_in_front(VOLUME)
OFFSET = torch.tensor([0.03, 0.02, -0.04, 2.0, 1.0, 6.0], dtype=torch.float64)
MAPPED = ('mapped_ncc', 'mapped_gradient_ncc', 'mapped_ncc+gradient')


def clean() -> torch.Tensor:
    return render(VOLUME, TRUTH, CAMERA.K, CAMERA.size, backend='torch', step_mm=0.7).float()


def with_gamma(gamma: float) -> torch.Tensor:
    x = clean()
    return x.max() * (x / x.max()).clamp(min=0) ** gamma


def with_scatter() -> torch.Tensor:
    """Add light that varies over the image by a factor of three, up to a third of the beam."""
    x = clean()
    u = torch.linspace(0.1, 0.3, SIZE)
    return -torch.log(torch.exp(-x) + u)


def with_instrument() -> torch.Tensor:
    x = clean()
    x[:, 20:25] += x.max()
    return x


def error_mm(similarity: ImageSimilarity, reweigh: int = 0) -> float:
    """Solve from beside the truth and return how far the CT's centre is off."""

    def linearise(poses, widths):
        images, J = render_with_jacobian(
            VOLUME, poses, CAMERA.K, CAMERA.size, without_ray_motion=False
        )
        return similarity.normal_equations(images, J)

    def move(pose, xi):
        twist = torch.cat([xi[..., :3], xi[..., 3:] * TWIST_LENGTH_MM], -1)
        return se3.apply_twist(twist, pose, VOLUME.centre)

    pose = se3.apply_twist(OFFSET, TRUTH, VOLUME.centre)
    config = LMConfig(min_predicted_reduction=1e-6)
    pose = levenberg_marquardt(linearise, move, pose[None], config).poses[0]
    for _ in range(reweigh):
        similarity = similarity.reweighted(render(VOLUME, pose, CAMERA.K, CAMERA.size))
        pose = levenberg_marquardt(linearise, move, pose[None], config).poses[0]
    found, expected = (se3.transform_points(T, VOLUME.centre[None]) for T in (pose, TRUTH))
    return float((found - expected).norm())


@pytest.mark.parametrize(('gamma', 'share'), [(0.7, 0.2), (1.4, 0.5)])
@pytest.mark.parametrize('name', MAPPED)
def test_an_intensity_map_removes_most_of_what_gamma_costs(name, gamma, share):
    x = with_gamma(gamma)
    plain, mapped = (error_mm(prepare_similarity(n, x)) for n in ('ncc', name))
    assert plain > 5.0
    assert mapped < share * plain


@pytest.mark.parametrize('name', ['mapped_gradient_ncc', 'mapped_ncc+gradient'])
def test_an_intensity_map_of_gradients_removes_most_of_what_smooth_scatter_costs(name):
    x = with_scatter()
    plain, mapped = (error_mm(prepare_similarity(n, x)) for n in ('ncc', name))
    assert plain > 2.0
    assert mapped < 0.5 * plain


@pytest.mark.parametrize('name', ['ncc', 'mapped_gradient_ncc', 'mapped_ncc+gradient'])
def test_reweighting_removes_much_of_what_an_instrument_costs(name):
    similarity = prepare_similarity(name, with_instrument())
    plain, reweighted = error_mm(similarity), error_mm(similarity, reweigh=3)
    assert plain > 2.0
    assert reweighted < 0.75 * plain


@pytest.mark.parametrize('name', ['ncc', 'gradient_ncc', 'mapped_gradient_ncc'])
def test_without_disturbance_the_pose_is_right_before_and_after_reweighting(name):
    similarity = prepare_similarity(name, clean())
    assert error_mm(similarity) < 0.8
    assert error_mm(similarity, reweigh=1) < 0.8
