import pytest
import torch
from training_jobs import ci_config, small_generator

from sph_reg_ros.augmentation.randomise import Randomisation
from sph_reg_ros.geometry import se3, so4
from sph_reg_ros.geometry.se3 import TWIST_LENGTH_MM
from sph_reg_ros.networks.normalise import normalise
from sph_reg_ros.rendering.along_rays import project_out_ray_motion
from sph_reg_ros.rendering.render import render
from sph_reg_ros.rendering.sampling import unit_directions
from sph_reg_ros.training.data import step_key, validation_key
from sph_reg_ros.training.poses import Displacement, Displacements

SEED_KEY = step_key(0, 0, 5)
CLEAN = Randomisation(*[0.0] * 13)
NEAR = Displacements(*[Displacement(1.0, 1.0, 2.0, 4.0)] * 3)


def test_a_batch_depends_on_its_words_alone():
    generator = small_generator()
    first = generator.pairs(3, NEAR, SEED_KEY)
    generator.pairs(2, NEAR, step_key(0, 0, 6))
    torch.manual_seed(5)
    again = generator.pairs(3, NEAR, SEED_KEY)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_seeds_ranks_steps_and_held_out_images_are_all_different():
    generator = small_generator()
    seed_key = [SEED_KEY, step_key(1, 0, 5), step_key(0, 1, 5), step_key(0, 0, 6)]
    seed_key += [validation_key(0, 5), validation_key(0, 0)]
    poses = [generator.xrays(1, w).camera_from_ct for w in seed_key]
    assert len({tuple(pose.flatten().tolist()) for pose in poses}) == len(seed_key)


def test_xrays_without_randomisation_are_renderings_at_the_true_poses():
    generator = small_generator(randomisation=CLEAN)
    xrays = generator.xrays(3, SEED_KEY)
    volume = generator.subjects[xrays.subject].volumes[0]
    expected = render(volume, xrays.camera_from_ct, generator.camera.K, generator.camera.size)
    assert torch.equal(xrays.clean, expected) and expected.max() > 0.5
    assert torch.allclose(xrays.images, normalise(expected), atol=1e-5)
    assert xrays.masks.all()


def test_randomised_xrays_are_not_renderings_any_more():
    xrays = small_generator(randomisation=Randomisation()).xrays(4, SEED_KEY)
    assert not torch.allclose(xrays.images, normalise(xrays.clean), atol=0.05)
    assert torch.isfinite(xrays.images).all()
    assert (xrays.images[:, 0][~xrays.masks] == 0).all()


def test_pairs_know_how_far_apart_they_are():
    """Renderings, residual and gradient belong to the same displacement."""
    generator = small_generator(randomisation=CLEAN)
    pairs, xrays = generator.pairs(4, NEAR, SEED_KEY), generator.xrays(4, SEED_KEY)
    centre = generator.subjects[0].centre_mm
    distance_mm = so4.EMBEDDING_LENGTH_MM / 2**0.5 * pairs.true_residual.norm(dim=-1)
    assert (distance_mm > 1).all() and (distance_mm < 60).all()
    # A step along the true gradient away from the target; back along it, the X-ray is found again:
    # |r|^2 / 2 = |omega|^2 + |v / L|^2 for small displacements, L the embedding's length.
    xi = -pairs.true_gradient.double() / 2
    xi[:, 3:] *= (so4.EMBEDDING_LENGTH_MM / TWIST_LENGTH_MM) ** 2
    start = [p for p in _moving_poses(generator, 4)]
    back = torch.cat([xi[:, :3], TWIST_LENGTH_MM * xi[:, 3:]], -1)
    found = se3.apply_twist(back, torch.stack(start), centre)
    apart = se3.transform_points(found, centre[None]) - se3.transform_points(
        xrays.camera_from_ct, centre[None]
    )
    assert apart.norm(dim=-1).max() < 0.5
    volume = generator.subjects[0].volumes[0]
    expected = render(volume, torch.stack(start), generator.camera.K, generator.camera.size)
    assert torch.allclose(pairs.renderings, expected, atol=1e-4)


def test_renderings_beside_lie_a_small_step_away():
    generator = small_generator(randomisation=CLEAN)
    pairs = generator.pairs(40, NEAR, SEED_KEY, sloped=0, secant_mm=2.0)
    assert pairs.beside.shape == pairs.renderings.shape and pairs.jacobians.shape[0] == 0
    step = so4.residual(pairs.beside_poses, pairs.moving_poses)
    step_mm = so4.EMBEDDING_LENGTH_MM / 2**0.5 * step.norm(dim=-1)
    assert float(step_mm.square().mean().sqrt()) == pytest.approx(2.0 * 6**0.5, rel=0.15)
    apart = [(pairs.beside - other).abs().mean() for other in (pairs.renderings, pairs.beside * 0)]
    assert 0 < apart[0] < 0.2 * apart[1]


def test_renderings_do_not_depend_on_how_many_have_jacobians():
    generator = small_generator()
    some, every = generator.pairs(3, NEAR, SEED_KEY, sloped=1), generator.pairs(3, NEAR, SEED_KEY)
    assert torch.allclose(some.renderings, every.renderings, atol=1e-5)
    assert torch.equal(some.jacobians, every.jacobians[:1])
    assert len(some.beside) == len(some.beside_poses) == 0


def test_jacobians_of_pairs_are_derivatives_by_xi():
    generator = small_generator(randomisation=CLEAN)
    pairs = generator.pairs(2, NEAR, SEED_KEY)
    centre, volume = generator.subjects[0].centre_mm, generator.subjects[0].volumes[0]
    poses = torch.stack(_moving_poses(generator, 2))
    h, camera = 1e-4, generator.camera
    slopes = []
    for xi in h * torch.eye(6, dtype=torch.float64):
        twist = torch.cat([xi[:3], TWIST_LENGTH_MM * xi[3:]])
        ends = [
            render(volume, se3.apply_twist(sign * twist, poses, centre), camera.K, camera.size)
            for sign in (1, -1)
        ]
        slopes.append((ends[0] - ends[1]) / (2 * h))
    rays = unit_directions(camera.K, camera.size)
    places = torch.stack([se3.transform_points(pose, centre[None])[0] for pose in poses])
    slope = project_out_ray_motion(torch.stack(slopes, -1), places, rays, TWIST_LENGTH_MM)
    for axis in (0, 4):
        error = slope[..., axis] - pairs.jacobians[..., axis]
        assert float(error.norm() / slope[..., axis].norm()) < 0.05


def _moving_poses(generator, count: int) -> list[torch.Tensor]:
    from sph_reg_ros.training.seeding import generator_of

    twists = NEAR.draw(count, generator_of('cpu', 'displacements', *SEED_KEY))
    fixed = generator.xrays(count, SEED_KEY).camera_from_ct
    return list(se3.apply_twist(twists, fixed, generator.subjects[0].centre_mm))


def test_the_camera_sees_the_whole_detector_at_the_networks_resolution():
    camera = ci_config().imager.camera((32, 48))
    assert camera.size == (32, 48)
    corner = camera.project(torch.tensor([[-150.0, -150.0, 1020.0]], dtype=torch.float64))
    assert torch.allclose(corner, torch.tensor([[-0.5, -0.5]], dtype=torch.float64))
