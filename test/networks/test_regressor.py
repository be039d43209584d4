from dataclasses import replace

import pytest
import torch
from network_sizes import TINY_REGRESSOR
from torch import nn

from sph_reg_ros.errors import ConfigError
from sph_reg_ros.geometry import se3
from sph_reg_ros.networks.group_norm import group_norm
from sph_reg_ros.networks.regressor import QUICK_REGRESSOR, PoseRegressor, RegressorConfig

CENTRE = torch.tensor([10.0, -20.0, 30.0], dtype=torch.float64)
NOMINAL = se3.exp(torch.tensor([0.3, -0.2, 0.5, 20.0, -30.0, 700.0], dtype=torch.float64))


@pytest.fixture(scope='module')
def regressor():
    torch.manual_seed(0)
    return PoseRegressor(TINY_REGRESSOR, NOMINAL, CENTRE)


def images(count: int = 3) -> torch.Tensor:
    return torch.randn(count, 1, 32, 32, generator=torch.Generator().manual_seed(0))


def test_it_starts_with_the_nominal_view_and_answers_with_rigid_poses(regressor):
    poses = regressor(images())
    assert poses.shape == (3, 4, 4) and poses.dtype == torch.float64
    for pose in poses:
        se3.require_rigid(pose, 'pose', 1e-12)
    away = se3.log(poses @ se3.inverse(NOMINAL))
    assert away[:, :3].abs().max() < 0.05 and away.abs().max() > 0


def test_an_output_of_one_is_the_typical_displacement_about_the_centre(regressor):
    for index, (name, unit) in enumerate(
        [('rotation', value) for value in TINY_REGRESSOR.typical_rotation_rad]
        + [('translation', value) for value in TINY_REGRESSOR.typical_translation_mm]
    ):
        pose = regressor.head(torch.eye(6)[index : index + 1])[0]
        middle = se3.transform_points(pose, CENTRE[None]) - se3.transform_points(
            NOMINAL, CENTRE[None]
        )
        turn = se3.log(pose @ se3.inverse(NOMINAL))[:3].norm()
        expected = (unit, 0.0) if name == 'rotation' else (0.0, unit)
        assert (float(turn), float(middle.norm())) == pytest.approx(expected, abs=1e-9)


def test_a_pose_can_be_learned(regressor):
    torch.manual_seed(0)
    network = PoseRegressor(TINY_REGRESSOR, NOMINAL, CENTRE)
    twist = torch.tensor([0.1, -0.2, 0.05, 10.0, -20.0, 40.0], dtype=torch.float64)
    target = se3.apply_twist(twist, NOMINAL, CENTRE)
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(60):
        optimiser.zero_grad()
        loss = (network(images(1))[0] - target).square().mean()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.05 * float((NOMINAL - target).square().mean())


def test_an_image_is_judged_alike_whatever_is_beside_it_in_the_batch(regressor):
    regressor.train()
    torch.testing.assert_close(regressor(images())[:1], regressor(images(1)))


def test_no_batch_norm_is_left_in_a_resnet_18():
    with torch.device('meta'):
        network = PoseRegressor(RegressorConfig())
    norms = [part for part in network.modules() if 'Norm' in type(part).__name__]
    assert all(isinstance(norm, nn.GroupNorm) for norm in norms) and len(norms) == 20
    convolutions = [part for part in network.modules() if isinstance(part, nn.Conv2d)]
    assert len(convolutions) == 17 + 3 and convolutions[0].in_channels == 1


def test_norms_are_over_groups_of_eight_channels_where_these_fit():
    assert (group_norm(16).num_groups, group_norm(6).num_groups) == (2, 1)
    assert group_norm(1)(torch.ones(2, 1, 4)).abs().max() == 0


@pytest.mark.parametrize(
    'change',
    [
        {'image_size': (32,)},
        {'image_size': (8, 8)},
        {'widths': (8, 8, 8)},
        {'widths': (8, 8, 8, 10**9)},
        {'depths': (1, 1, 1, 0)},
        {'typical_rotation_rad': (0.1, 0.1, 0.0)},
        {'typical_translation_mm': (1.0, 1.0, float('nan'))},
    ],
    ids=str,
)
def test_sizes_that_cannot_be_built_are_refused(change):
    with pytest.raises(ConfigError, match=next(iter(change))):
        replace(QUICK_REGRESSOR, **change)


def test_a_regressor_begins_with_another_one_of_the_same_ct_and_view():
    torch.manual_seed(3)
    centre, nominal = torch.zeros(3).double(), torch.eye(4).double()
    first = PoseRegressor(TINY_REGRESSOR, nominal, centre)
    torch.nn.init.normal_(first.last.weight)
    second = PoseRegressor(TINY_REGRESSOR, nominal, centre)
    second.begin_with(first)
    image = torch.randn(2, 1, 32, 32)
    torch.testing.assert_close(second(image), first(image))
    elsewhere = PoseRegressor(TINY_REGRESSOR, nominal, centre + 5)
    larger = PoseRegressor(replace(TINY_REGRESSOR, widths=(8, 8, 16, 32)), nominal, centre)
    for other in (elsewhere, larger):
        with pytest.raises(ConfigError, match='cannot begin with these weights'):
            other.begin_with(first)
