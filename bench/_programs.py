"""The renderings that are timed: ours and each peer's image, back-propagation and Jacobian."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from _peers import Renderer, diffdrr_siddon, diffdrr_trilinear, nanodrr
from _scenes import BenchScene
from torch import Tensor

from sph_reg_ros.geometry import se3
from sph_reg_ros.geometry.se3 import TWIST_LENGTH_MM
from sph_reg_ros.rendering.render import render, render_with_jacobian

KINDS = ('image', 'image + backward', 'image + Jacobian')
PEERS = ('nanodrr', 'nanodrr compiled', 'DiffDRR trilinear', 'DiffDRR Siddon')
OURS = 'sph_reg_ros'
# Steps of the differences: small against the anatomy, large against float32's rounding.
ROTATION_STEP, SHIFT_STEP_MM = 1e-3, 0.5
Run = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Program:
    """One thing that is timed.

    Attributes:
        name: who renders.
        kind: one of KINDS.
        run: camera_from_ct to the image [H, W], the gradient [6] or the Jacobian [H, W, 6].
    """

    name: str
    kind: str
    run: Run


@dataclass(frozen=True)
class JacobianBy:
    """How a peer's Jacobian is made: the cheapest way, or one of those that cost more."""

    central: bool = False
    double_backward: bool = False


def ours(scene: BenchScene, backend: str, name: str = OURS) -> list[Program]:
    """Return our three programs on a backend; the Jacobian is the one that registrations use."""
    volume, camera = scene.volume, scene.camera

    def image(pose: Tensor) -> Tensor:
        return render(volume, pose, camera.K, camera.size, backend=backend)

    def jacobian(pose: Tensor) -> Tensor:
        return render_with_jacobian(volume, pose, camera.K, camera.size, backend=backend)[1]

    runs = (image, _backward(image, scene), jacobian)
    return [Program(name, kind, run) for kind, run in zip(KINDS, runs, strict=True)]


def peer_renderer(name: str, scene: BenchScene, points: int) -> Renderer:
    """Return a peer's renderer by its name in PEERS; Siddon needs no points."""
    if name == 'DiffDRR Siddon':
        return diffdrr_siddon(scene.volume, scene.camera)
    if name == 'DiffDRR trilinear':
        return diffdrr_trilinear(scene.volume, scene.camera, points)
    return nanodrr(scene.volume, scene.camera, points, compiled=name.endswith('compiled'))


def peer(name: str, scene: BenchScene, points: int, by: JacobianBy) -> list[Program]:
    """Return a peer's three programs."""
    renderer = peer_renderer(name, scene, points)

    def image(pose: Tensor) -> Tensor:
        with torch.no_grad():
            return renderer(pose)

    def jacobian(pose: Tensor) -> Tensor:
        if by.double_backward:
            return _double_backward(renderer, scene, pose)
        with torch.no_grad():
            return _differences(renderer, scene, pose, by.central)

    runs = (image, _backward(renderer, scene), jacobian)
    return [Program(name, kind, run) for kind, run in zip(KINDS, runs, strict=True)]


def _moved(scene: BenchScene, pose: Tensor, twist: Tensor) -> Tensor:
    return se3.apply_twist(twist, pose, scene.volume.centre)


def _backward(renderer: Renderer, scene: BenchScene) -> Run:
    def run(pose: Tensor) -> Tensor:
        twist = torch.zeros(6, dtype=torch.float64, requires_grad=True)
        renderer(_moved(scene, pose, twist)).square().sum().backward()
        assert twist.grad is not None
        return twist.grad

    return run


def _differences(renderer: Renderer, scene: BenchScene, pose: Tensor, central: bool) -> Tensor:
    """Return a Jacobian by twelve images, or by the image and six more."""
    at_pose, columns = None if central else renderer(pose), []
    for column in range(6):
        step = ROTATION_STEP if column < 3 else SHIFT_STEP_MM
        twist = torch.zeros(6, dtype=torch.float64)
        twist[column] = step
        ahead = renderer(_moved(scene, pose, twist))
        behind = renderer(_moved(scene, pose, -twist)) if at_pose is None else at_pose
        unit = step * (2 if central else 1) / (TWIST_LENGTH_MM if column > 2 else 1)
        columns.append((ahead - behind) / unit)
    return torch.stack(columns, -1)


def _double_backward(renderer: Renderer, scene: BenchScene, pose: Tensor) -> Tensor:
    twist = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    image = renderer(_moved(scene, pose, twist))
    weights = torch.zeros_like(image, requires_grad=True)
    (gradient,) = torch.autograd.grad(image, twist, weights, create_graph=True)
    columns = [
        torch.autograd.grad(gradient[column], weights, retain_graph=True)[0] for column in range(6)
    ]
    scale = torch.tensor([1.0] * 3 + [TWIST_LENGTH_MM] * 3, device=image.device)
    return torch.stack(columns, -1) * scale
