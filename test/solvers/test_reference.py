"""The solver against the same algorithm written for one pose, with branches and least squares."""

from dataclasses import replace

import pytest
import torch
from point_clouds import START, Alignment, generator, in_rows, move

from sph_reg_ros.solvers import LMConfig, levenberg_marquardt

CONFIG = LMConfig(max_iterations=12, max_rotation=0.3, max_translation=0.2)
NOISE = 0.3 * torch.randn(20, 3, dtype=torch.float64, generator=generator(3))


class Bent(Alignment):
    """An alignment whose residuals are far from linear, so that steps are refused."""

    def __call__(self, pose):
        (block,) = super().__call__(pose)
        r, J = block.residual, block.jacobian
        return [
            replace(block, residual=torch.sin(6 * r), jacobian=6 * torch.cos(6 * r)[:, None] * J)
        ]


def damped(A, g, damping):
    diagonal = A.diagonal()
    added = damping * (diagonal + 1e-6 * diagonal.sum() / 6)
    return -torch.linalg.lstsq(A + torch.diag(added), g[:, None], driver='gelsd').solution[:, 0]


def reference_steps(problem, pose, config) -> list[torch.Tensor]:
    """Return the steps of Nielsen's method, accepted or not."""

    def look(pose):
        (block,) = problem(pose)
        J, r = block.jacobian, block.residual
        return float(r @ r), J.T @ J, J.T @ r

    cost, A, g = look(pose)
    damping, growth, steps = config.initial_damping, 2.0, []
    for _ in range(config.max_iterations):
        best = damped(A, g, 0.0)
        if -best @ (2 * g + A @ best) <= config.min_predicted_reduction * cost:
            break
        step = damped(A, g, damping)
        over = max(
            float(step[:3].norm()) / config.max_rotation,
            float(step[3:].norm()) / config.max_translation,
        )
        step = step / over if over > 1 else step
        steps.append(step)
        there = move(pose, step)
        next_cost, next_A, next_g = look(there)
        gain = float((cost - next_cost) / -(step @ (2 * g + A @ step)))
        if gain > config.min_gain:
            pose, cost, A, g = there, next_cost, next_A, next_g
            damping, growth = damping * max(1 / 3, 1 - (2 * gain - 1) ** 3), 2.0
        else:
            damping, growth = damping * growth, growth * 2
            if float(step.abs().max()) < config.tolerance:
                break
    return steps


@pytest.mark.parametrize('problem', [Alignment(errors=NOISE), Bent(errors=NOISE)])
@pytest.mark.parametrize('damping', [1e-4, 1.0])
def test_the_steps_are_those_of_the_method_for_one_pose(problem, damping):
    config, steps = replace(CONFIG, initial_damping=damping), []

    def remember(poses, xi):
        steps.extend(xi)
        return move(poses, xi)

    levenberg_marquardt(in_rows(problem), remember, START[None], config)
    expected = reference_steps(problem, START, config)
    assert len(steps) == len(expected) > 3
    for step, other in zip(steps, expected, strict=True):
        assert torch.allclose(step, other, rtol=1e-6, atol=1e-9)
