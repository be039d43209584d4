"""Runs of solvers on the learned similarity, step by step."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from sph_reg_ros.errors import SolverError
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.level import Level
from sph_reg_ros.registration.refine import FINE_REDUCTION
from sph_reg_ros.registration.solve import Solver
from sph_reg_ros.similarity import NormalEquations
from sph_reg_ros.similarity.patches import no_overlap
from sph_reg_ros.similarity.spherical import SCALE

MOMENTUM = 0.9
OPTIMISERS: dict[str, Callable[[Tensor, float], torch.optim.Optimizer]] = {
    'SGD': lambda xi, rate: torch.optim.SGD([xi], rate, momentum=MOMENTUM),
    'Adam': lambda xi, rate: torch.optim.Adam([xi], rate),
}


@dataclass
class Trace:
    """Poses [4, 4] after 0, 1, ... steps, and the seconds since the start at each.

    A step of LM counts with the look at where it leads, which decides whether it is taken.

    Attributes:
        poses: of the camera.
        seconds: as many.
        remark: '' if it ended by itself.
    """

    poses: list[Tensor] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    remark: str = ''

    def __post_init__(self) -> None:
        """Start the clock."""
        self._began = time.perf_counter()

    def add(self, pose: Tensor) -> None:
        """Note the pose after a step."""
        self.poses.append(pose)
        self.seconds.append(time.perf_counter() - self._began)


def lm_trace(level: Level, start: Tensor) -> Trace:
    """Run the solver of the registration until its last level would be content."""
    watched = _Watched(replace(level, render_cache=[]))
    solve = Solver(RegistrationConfig())
    try:
        result = solve(watched, start[None], FINE_REDUCTION)
    except SolverError as error:
        return _failed(watched.trace, start, error)
    watched.trace.add(result.poses[0])
    watched.trace.seconds[0] = 0.0
    return watched.trace


def descent_trace(name: str, level: Level, start: Tensor, rate: float, steps: int) -> Trace:
    """Follow the gradient of S = d^2 / 2, d the learned distance, for a number of steps.

    Args:
        name: of OPTIMISERS.
        level: X-ray and CT.
        start: camera_from_ct.
        rate: learning rate, of steps xi = (omega, v / TWIST_LENGTH_MM) in camera axes.
        steps: how many.
    """
    level, pose, trace = replace(level, render_cache=[]), start, Trace()
    xi = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    stepper = OPTIMISERS[name](xi, rate)
    trace.add(pose)
    for _ in range(steps):
        equations = level.linearise(pose[None])
        if not equations.valid:
            return _failed(trace, start, no_overlap())
        xi.grad = slopes(equations)[0]
        # The state of the optimiser goes on; each step starts at 0 of the new pose.
        stepper.step()
        pose = level.move(pose[None], xi.detach()[None].clone())[0]
        with torch.no_grad():
            xi.zero_()
        trace.add(pose)
    return trace


def slopes(equations: NormalEquations) -> Tensor:
    """Return J^T r [B, 6], for S = d^2 / 2 by xi; residuals are SCALE times the distance.

    The derivative of S itself if slopes come through the encoder, not from features.
    """
    return equations.gradient / SCALE**2


class _Watched:
    """A level that notes each pose from which the solver tries a step."""

    def __init__(self, level: Level) -> None:
        self._level, self.trace = level, Trace()
        self.linearise = level.linearise

    def move(self, poses: Tensor, xi: Tensor) -> Tensor:
        self.trace.add(poses[0])
        return self._level.move(poses, xi)


def _failed(trace: Trace, start: Tensor, error: SolverError) -> Trace:
    if not trace.poses:
        trace.add(start)
    trace.remark = error.code.name
    return trace
