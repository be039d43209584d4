"""Derivatives of the found pose by residual weights and damping, and none by default."""

from dataclasses import replace

import pytest
import torch
from point_clouds import START, TARGET, Alignment, generator, outliers, solve

from sph_reg_ros.similarity.robust import RobustKernel
from sph_reg_ros.solvers import LMConfig

ITERATIONS = 3
CONFIG = LMConfig(max_iterations=ITERATIONS, min_predicted_reduction=0.0, differentiable=True)
COUNT = 8


def weights() -> torch.Tensor:
    values = 0.5 + torch.rand(3 * COUNT, dtype=torch.float64, generator=generator(4))
    return values.requires_grad_()


def found(weight, damping, config=CONFIG, kernel='none') -> torch.Tensor:
    problem = Alignment(COUNT, outliers(COUNT, share=0.3), weight)
    return solve(problem, START, replace(config, initial_damping=damping), kernel=kernel).pose


@pytest.mark.parametrize('kernel', RobustKernel)
@pytest.mark.parametrize('damping', [torch.tensor(0.3), torch.linspace(0.1, 2, 6)])
def test_unrolled_steps_have_the_derivative_by_weights_and_damping(kernel, damping):
    inputs = (weights(), damping.double().requires_grad_())
    assert torch.autograd.gradcheck(lambda w, d: found(w, d, kernel=kernel), inputs)


def test_capped_steps_have_the_derivative_too():
    config = replace(CONFIG, max_rotation=0.02, max_translation=0.03)
    inputs = (weights(), torch.tensor(0.3, dtype=torch.float64, requires_grad=True))
    assert torch.autograd.gradcheck(lambda w, d: found(w, d, config), inputs)


def test_weights_learn_to_leave_outliers_out():
    errors = outliers(20, share=0.2, size=0.3)
    logits = torch.zeros(60, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([logits], lr=0.5)
    config = replace(CONFIG, max_iterations=5, max_rotation=1.0, max_translation=1.0)
    losses = []
    for _ in range(10):
        problem = Alignment(20, errors, torch.sigmoid(logits))
        pose = solve(problem, START, config).pose
        loss = (pose - TARGET).square().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 * losses[0]
    outlying, fitting = logits.detach().tensor_split([12])
    assert float(outlying.mean()) < -1 < 1 < float(fitting.mean())


def test_no_graph_is_built_unless_asked_for():
    damping = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    seen = []

    def linearise(pose):
        (block,) = Alignment(COUNT, weight=weights() * 1.0)(pose)
        seen.append(block.weight.requires_grad or pose.requires_grad)
        return [block]

    config = replace(CONFIG, initial_damping=damping, differentiable=False)
    result = solve(linearise, START, config)
    assert not result.pose.requires_grad and not result.information.requires_grad
    assert not any(seen) and torch.is_grad_enabled()
    assert solve(linearise, START, replace(config, differentiable=True)).pose.requires_grad


def test_a_caller_that_has_switched_gradients_off_gets_no_graph():
    with torch.no_grad():
        assert not found(weights(), 0.3).requires_grad


def test_both_modes_find_the_same_pose():
    values = weights()
    graph, plain = (found(values, 0.3, replace(CONFIG, differentiable=d)) for d in (True, False))
    assert torch.equal(graph.detach(), plain)
