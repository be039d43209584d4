"""What networks learn, and how it is measured; ideal networks take the place of real ones."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from training_jobs import ci_content, small_ct, small_job

from sph_reg_ros.errors import ConfigError
from sph_reg_ros.networks.agnostic import AgnosticRegressor
from sph_reg_ros.networks.regressor import PoseRegressor
from sph_reg_ros.settings import from_plain
from sph_reg_ros.training.config import TrainingConfig
from sph_reg_ros.training.job import TrainingJob
from sph_reg_ros.training.similarity_task import Compared, SimilarityModule, compare
from sph_reg_ros.training.task import LOSS


def with_loss(kind: str, **loss) -> TrainingJob:
    content = ci_content()
    content[kind]['loss'] = loss
    return TrainingJob(kind, (small_ct(),), from_plain(TrainingConfig, content))


def test_a_regressor_starts_at_the_nominal_view_and_its_loss_is_the_distance_from_there():
    task = small_job('regressor').task('cpu')
    batch = task.batch(4, ('test',))
    parts = task.module(batch)
    assert isinstance(task.network, PoseRegressor)
    assert float(parts[LOSS]) == pytest.approx(0.01 * float(parts['geodesic_mm']))
    nominal = task.generator.prior.nominal(task.generator.subjects[0].centre_mm)
    exact = batch._replace(camera_from_ct=nominal.expand(4, 4, 4))
    assert task.module(exact)['geodesic_mm'] < 0.2 * parts['geodesic_mm']


@pytest.mark.parametrize('loss', [{'image': 1.0}, {'geodesic': 'centre', 'length_mm': 200.0}])
def test_every_loss_of_the_regressor_reaches_its_weights(loss):
    task = with_loss('regressor', **loss).task('cpu')
    parts = task.module(task.batch(3, ('test',)))
    assert ('image' in parts) == ('image' in loss)
    parts[LOSS].backward()
    gradients = [p.grad for p in task.network.parameters()]
    assert all(g is not None and torch.isfinite(g).all() for g in gradients)
    assert any(g.abs().max() > 0 for g in gradients)


def test_errors_of_poses_that_are_all_right_are_0():
    task = small_job('regressor').task('cpu')
    batch = task.batch(5, ('test',))
    truth = iter([batch.camera_from_ct])

    class Oracle(PoseRegressor):
        def forward(self, images):
            return next(truth)

    task.network.__class__ = Oracle
    figures = task.measure([batch])
    assert figures['median_mtre_mm'] == figures['p90_mtre_mm'] == 0.0
    assert figures['median_rotation_deg'] < 1e-5 and figures['share_below_10_mm'] == 1.0


def test_an_untrained_regressor_errs_by_what_poses_vary():
    figures = small_job('regressor').task('cpu')
    figures = figures.measure([figures.batch(8, ('test',))])
    assert 3 < figures['median_mtre_mm'] < 60 and 1 < figures['median_rotation_deg'] < 25


def test_several_cts_make_a_regressor_that_looks_at_the_ct():
    task = small_job('regressor', cts=2).task('cpu')
    assert isinstance(task.network, AgnosticRegressor)
    batches = [task.batch(2, ('test', n)) for n in range(8)]
    assert {batch.subject for batch in batches} == {0, 1}
    parts = task.module(batches[0])
    parts[LOSS].backward()
    assert torch.isfinite(parts[LOSS])
    assert set(task.measure(batches[:2])) >= {'median_mtre_mm'}


def test_a_regressor_of_one_ct_cannot_learn_from_its_mirror_image():
    content = ci_content()
    content['anatomy']['flips'] = True
    with pytest.raises(ConfigError, match='mirror'):
        TrainingJob('regressor', (small_ct(),), from_plain(TrainingConfig, content))
    TrainingJob('similarity', (small_ct(),), from_plain(TrainingConfig, content))


def test_the_gradient_of_the_similarity_is_its_derivative_by_the_pose():
    task = small_job('similarity').task('cpu')
    task.network.double()
    pairs = task.batch(3, ('test',))
    pairs = pairs._replace(
        **{name: getattr(pairs, name).double() for name in ('images', 'renderings', 'jacobians')}
    )
    compared = compare(task.network, pairs)
    # Along xi_k a rendering changes by its Jacobian's column k.
    h = 1e-7  # farther away lie the kinks of ReLU
    for axis in range(6):
        values = [
            compare(
                task.network,
                pairs._replace(renderings=pairs.renderings + s * h * pairs.jacobians[..., axis]),
            ).half_squares
            for s in (1, -1)
        ]
        slope = (values[0] - values[1]) / (2 * h)
        assert torch.allclose(compared.gradient[:, axis], slope, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    'name', ['value', 'all_pairs', 'direction', 'pose', 'vector', 'secant', 'conditioning']
)
def test_every_loss_of_the_similarity_reaches_the_weights(name):
    weights = {'value': 0.0, 'direction': 0.0, 'shortness': 0.0, name: 1.0}
    if name == 'conditioning':
        weights['value'] = 1e-6
    task = with_loss('similarity', **weights).task('cpu')
    parts = task.module(task.batch(3, ('test',)))
    assert name in parts and 'shortness' not in parts
    parts[LOSS].backward()
    first = next(task.network.body.parameters())
    assert torch.isfinite(first.grad).all() and first.grad.abs().max() > 0


def test_gradients_of_a_share_of_the_pairs_change_nothing_but_the_direction_loss():
    tasks = [with_loss('similarity', slope_share=share).task('cpu') for share in (1.0, 0.5)]
    tasks[1].network.load_state_dict(tasks[0].network.state_dict())
    batch = tasks[0].batch(4, ('test',))
    batches = (batch, tasks[1].batch(4, ('test',)))
    assert [len(some.jacobians) for some in batches] == [4, 2]
    whole, half = (task.module(some) for task, some in zip(tasks, batches, strict=True))
    assert torch.isclose(whole['value'], half['value'])
    assert not torch.isclose(whole['direction'], half['direction'])
    compared = compare(tasks[0].network, batch._replace(jacobians=batch.jacobians[:2]))
    assert compared.gradient.shape == (2, 6) and compared.half_squares.shape == (4,)


def test_poses_themselves_as_features_have_no_pose_loss_and_all_distances_agree():
    module = with_loss('similarity', pose=1.0, all_pairs=1.0).task('cpu').module
    batch = small_job('similarity').task('cpu').batch(4, ('test',))
    fixed, moving = (p[:, None].expand(4, 5, 2, 4) for p in (batch.fixed_poses, batch.moving_poses))
    exact = Compared(fixed, moving, moving[:0], *(torch.zeros(4) for _ in range(3)))
    assert module._pose(exact, batch).max() < 1e-10
    module.network.head.log_weights = nn.Parameter(torch.zeros(5))
    assert module._all_pairs(exact, batch).max() < 1e-8
    swapped = exact._replace(moving=moving.roll(1, 0))
    assert module._pose(swapped, batch)[4:].min() > 1e-4
    assert module._all_pairs(swapped, batch).min() > 1e-4


def test_the_whole_loss_is_the_weighted_sum_of_its_parts():
    task = with_loss('similarity', value=2.0, direction=0.5, shortness=3.0).task('cpu')
    parts = task.module(task.batch(3, ('test',)))
    expected = 2 * parts['value'] + 0.5 * parts['direction'] + 3 * parts['shortness']
    assert torch.isclose(parts[LOSS], expected)


@pytest.mark.parametrize('head', ['sphere', 'euclidean'])
def test_other_heads_learn_from_distance_and_direction_too(head):
    task = small_job('similarity').task('cpu')
    network = replace(task.settings.network, head=head)
    task = replace(task, settings=replace(task.settings, network=network))
    parts = task.module(task.batch(3, ('test',)))
    parts[LOSS].backward()
    assert torch.isfinite(parts[LOSS]) and set(task.measure([task.batch(4, ('x',))]))


class _Exact(nn.Module):
    """Measures poses themselves: features are r* of the pose, by way of the first pixels."""

    head = SimpleNamespace(
        project=lambda raw: raw,
        squared_distance=lambda moving, fixed: (moving - fixed).square().sum(-1),
        shortness=lambda raw: torch.zeros_like(raw[..., 0]),
    )

    def raw(self, images):
        return images.flatten(1)[:, :6]


def test_a_similarity_that_is_exact_correlates_fully_and_points_the_right_way(monkeypatch):
    task = small_job('similarity').task('cpu')
    generator = torch.Generator().manual_seed(0)
    residual = 0.1 * torch.randn(16, 6, generator=generator)
    images = torch.zeros(16, 1, 4, 4)
    renderings = torch.zeros(16, 4, 4)
    renderings.view(16, 16)[:, :6] = residual
    jacobians = torch.zeros(16, 4, 4, 6)
    jacobians.view(16, 16, 6)[:, :6] = 2**0.5 * torch.eye(6)
    pairs = task.batch(2, ('test',))._replace(
        images=images,
        masks=torch.ones(16, 4, 4, dtype=torch.bool),
        renderings=renderings,
        beside=renderings[:0],
        jacobians=jacobians,
        true_residual=residual,
        true_gradient=2**0.5 * residual,
    )
    module = 'sph_reg_ros.training.similarity_task.normalise'
    monkeypatch.setattr(module, lambda image, mask: image[:, None])
    task.__dict__['network'] = _Exact()
    figures = task.measure([pairs])
    assert figures['correlation'] == pytest.approx(1.0, abs=1e-5)
    assert figures['median_distance_error_mm'] < 1e-3
    assert figures['median_rotation_gradient_deg'] < 0.1
    assert figures['median_translation_gradient_deg'] < 0.1
    loss = SimilarityModule(_Exact(), task.settings.loss)(pairs)
    assert loss[LOSS] < 1e-5
