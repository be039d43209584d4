"""Derivatives of the found pose by residual weights and damping, and none by default."""

from dataclasses import replace

import pytest
import torch
from point_clouds import START, TARGET, Alignment, generator, move, outliers

from sph_reg_ros.solvers import LMConfig, RobustKernel, levenberg_marquardt

ITERATIONS = 3
CONFIG = LMConfig(max_iterations=ITERATIONS, min_promise=0.0, differentiable=True)
COUNT = 8


def weights() -> torch.Tensor:
    values = 0.5 + torch.rand(3 * COUNT, dtype=torch.float64, generator=generator(4))
    return values.requires_grad_()


def solve(weight, damping, config=CONFIG) -> torch.Tensor:
    problem = Alignment(COUNT, outliers(COUNT, share=0.3), weight)
    return levenberg_marquardt(problem, move, START, replace(config, initial_damping=damping)).pose


@pytest.mark.parametrize('kernel', RobustKernel)
@pytest.mark.parametrize('damping', [torch.tensor(0.3), torch.linspace(0.1, 2, 6)])
def test_unrolled_steps_have_the_derivative_by_weights_and_damping(kernel, damping):
    config = replace(CONFIG, kernel=kernel)
    inputs = (weights(), damping.double().requires_grad_())
    assert torch.autograd.gradcheck(lambda w, d: solve(w, d, config), inputs)


def test_capped_steps_have_the_derivative_too():
    config = replace(CONFIG, max_rotation=0.02, max_translation=0.03)
    inputs = (weights(), torch.tensor(0.3, dtype=torch.float64, requires_grad=True))
    assert torch.autograd.gradcheck(lambda w, d: solve(w, d, config), inputs)


def test_weights_learn_to_leave_outliers_out():
    errors = outliers(20, share=0.2, size=0.3)
    logits = torch.zeros(60, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([logits], lr=0.5)
    config = replace(CONFIG, max_iterations=5, max_rotation=1.0, max_translation=1.0)
    losses = []
    for _ in range(10):
        problem = Alignment(20, errors, torch.sigmoid(logits))
        pose = levenberg_marquardt(problem, move, START, config).pose
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
    result = levenberg_marquardt(linearise, move, START, config)
    assert not result.pose.requires_grad and not result.information.requires_grad
    assert not any(seen) and torch.is_grad_enabled()
    assert levenberg_marquardt(
        linearise, move, START, replace(config, differentiable=True)
    ).pose.requires_grad


def test_a_caller_that_has_switched_gradients_off_gets_no_graph():
    with torch.no_grad():
        assert not solve(weights(), 0.3).requires_grad


def test_both_modes_find_the_same_pose():
    values = weights()
    graph, plain = (solve(values, 0.3, replace(CONFIG, differentiable=d)) for d in (True, False))
    assert torch.equal(graph.detach(), plain)
