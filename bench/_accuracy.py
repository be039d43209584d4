"""Errors against a very fine quadrature, and how many samples a peer needs to match ours."""

import torch
from _programs import Program, peer_renderer
from _scenes import BenchScene, make_scene
from torch import Tensor

from sph_reg_ros.rendering.render import render, render_with_jacobian
from sph_reg_ros.rendering.sampling import checked_step_mm

FINER = 16
CALIBRATION_SIZE = 64


def relative_rms(a: Tensor, b: Tensor) -> float:
    """Return |a - b| / |b|."""
    a, b = a.detach().double().cpu(), b.double().cpu()
    return float((a - b).norm() / b.norm())


def reference(scene: BenchScene, pose: Tensor) -> tuple[Tensor, Tensor]:
    """Return image and Jacobian at a step that is FINER times below a voxel's edge."""
    step = checked_step_mm(scene.volume, None) / FINER
    volume, camera = scene.volume, scene.camera
    return render_with_jacobian(
        volume, pose, camera.K, camera.size, step_mm=step, without_ray_motion=False
    )


def errors_of(
    program: Program, result: Tensor, expected: tuple[Tensor, Tensor]
) -> dict[str, float]:
    """Return the error of an image, or those of a Jacobian's columns.

    Depth stands alone: moving along the rays changes the image so little that errors of the
    quadrature weigh most there.
    """
    image, jacobian = expected
    if program.kind == 'image':
        return {'error': relative_rms(result, image)}
    if program.kind == 'image + backward':
        return {}
    columns = [relative_rms(result[..., c], jacobian[..., c]) for c in range(6)]
    return {'error': max(columns[:5]), 'depth_error': columns[5]}


def matched_points(peer: str, scene_name: str, device: str) -> int:
    """Return the fewest samples with which a peer's image error is no larger than ours.

    Found by halving on small images of the same views: quadrature errors hardly depend on the size.
    """
    scene = make_scene(scene_name, CALIBRATION_SIZE, device)
    targets = [reference(scene, pose)[0] for pose in scene.poses]

    def error(images: list[Tensor]) -> float:
        errors = [relative_rms(a, b) for a, b in zip(images, targets, strict=True)]
        return sum(errors) / len(errors)

    goal = error(
        [render(scene.volume, pose, scene.camera.K, scene.camera.size) for pose in scene.poses]
    )

    def enough(points: int) -> bool:
        renderer = peer_renderer(peer.removesuffix(' compiled'), scene, points)
        with torch.no_grad():
            return error([renderer(pose) for pose in scene.poses]) <= goal

    low, high = 0, max(scene.volume.shape) // 2
    while not enough(high) and high < 8 * max(scene.volume.shape):
        low, high = high, 2 * high
    while high - low > 0.03 * high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
