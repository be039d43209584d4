"""Alignment of point clouds: a small problem for solvers, with a known answer."""

from dataclasses import dataclass

import torch

from sph_reg_ros.errors import SolverError
from sph_reg_ros.geometry import se3, so3
from sph_reg_ros.similarity import ResidualBlock
from sph_reg_ros.similarity.normal_equations import of_blocks
from sph_reg_ros.similarity.robust import Robust, RobustKernel
from sph_reg_ros.solvers import LMConfig, TerminationReason, levenberg_marquardt

TARGET = se3.exp(torch.tensor([0.2, -0.1, 0.3, 0.02, 0.05, -0.04], dtype=torch.float64))
START = se3.exp(torch.tensor([0.3, -0.2, 0.1, 0.2, -0.1, 0.3], dtype=torch.float64)) @ TARGET


def move(pose, step):
    return se3.exp(step) @ pose


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def points(count: int = 20, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, dtype=torch.float64, generator=generator(seed))


class Alignment:
    """Residuals between points moved by a pose and where TARGET puts them, plus errors."""

    def __init__(self, count: int = 20, errors=0.0, weight=None) -> None:
        self.points = points(count)
        self.measured = se3.transform_points(TARGET, self.points) + errors
        self.weight = weight

    def __call__(self, pose) -> list[ResidualBlock]:
        moved = se3.transform_points(pose, self.points)
        eye = torch.eye(3, dtype=torch.float64).expand(len(moved), 3, 3)
        jacobian = torch.cat([-so3.hat(moved), eye], -1).reshape(-1, 6)
        cluster = torch.arange(len(moved)).repeat_interleave(3)
        residual = (moved - self.measured).flatten()
        return [ResidualBlock(residual, jacobian, cluster, self.weight)]


def outliers(count: int, share: float, size: float = 2.0) -> torch.Tensor:
    """Errors [count, 3] of which a share is shifted one way, the rest small noise."""
    errors = 0.01 * torch.randn(count, 3, dtype=torch.float64, generator=generator(1))
    errors[: int(share * count)] += size
    return errors


def distance(pose, target=TARGET) -> float:
    return float(se3.log(pose @ se3.inverse(target)).norm())


def in_rows(problem, kernel=RobustKernel.NONE):
    """Return what the solver calls, by a function from one pose to its blocks, one for each pose.

    A pose at which it raises SolverError is out of view.
    """

    def block_at(pose) -> ResidualBlock | None:
        try:
            (block,) = problem(pose)
        except SolverError:
            return None
        return block

    def linearise(poses, widths):
        return of_blocks([block_at(pose) for pose in poses], 6, Robust(kernel, widths))

    return linearise


@dataclass(frozen=True)
class Solution:
    """The only row of a result."""

    pose: torch.Tensor
    information: torch.Tensor
    cost: float
    iterations: int
    termination: TerminationReason


def solve(
    problem, start, config: LMConfig, observer=lambda i, cost: None, *, step=move, kernel='none'
) -> Solution:
    """Solve from one start."""
    linearise = in_rows(problem, RobustKernel(kernel))
    result = levenberg_marquardt(linearise, step, start[None], config, observer)
    return Solution(*(values[0] for values in vars(result).values()))
