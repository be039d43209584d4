"""Poses of opaque bodies by their outlines: points of each outline against edges of the X-rays."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from jaxtyping import Float64
from numpy.typing import NDArray
from torch import Tensor

from sph_reg_ros.geometry import Camera, se3
from sph_reg_ros.registration.view import View, cameras_from_first
from sph_reg_ros.rendering.outline import Edges, Outline, draw_silhouette, outline, project
from sph_reg_ros.similarity.outline_edges import EdgeImage, EdgesFound, find_edges

Poses = list[Float64[Tensor, '4 4']]
_BLUR_PX = 1.5
_POINT_EVERY_PX = 2.0
_FEWEST_POINTS = 12
_DAMPING = 1e-3
"""Of the normal matrix's diagonal."""
_LARGEST_TURN_RAD, _LARGEST_SHIFT_MM = 0.15, 25.0
_SETTLED_RAD, _SETTLED_MM = 2e-5, 2e-3
_FAINT = 0.25
"""Edges of this share of the median steepness count half."""
_PATCH_PX = 24.0
"""Edges of such a patch of the image err together."""


@dataclass(frozen=True, eq=False)
class OutlineLevel:
    """The X-rays at one resolution.

    Attributes:
        images: one a view.
        camera_from_first: pose of the first camera in each view's camera.
    """

    images: tuple[EdgeImage, ...]
    camera_from_first: tuple[Float64[Tensor, '4 4'], ...]

    @classmethod
    def of_views(
        cls,
        views: Sequence[View],
        camera_from_first: Sequence[Float64[Tensor, '4 4']],
        depths_mm: Sequence[float],
        pixel_mm: float,
    ) -> 'OutlineLevel':
        """Shrink views until a pixel is about so large (mm) at the bodies' depth in each."""
        images = []
        for view, depth_mm in zip(views, depths_mm, strict=True):
            factor = max(1, round(pixel_mm * view.camera.focal_length / depth_mm))
            mask = None if view.mask is None else view.mask.cpu().numpy()
            integrals = view.line_integrals.cpu().numpy()
            images.append(EdgeImage.of(integrals, mask, view.camera, factor, _BLUR_PX))
        return cls(tuple(images), tuple(camera_from_first))


@dataclass(frozen=True, eq=False)
class _Sighting:
    """One body's outline in one view, and the edges that the X-ray shows for it.

    Attributes:
        outline: of the body.
        found: edges of the X-ray.
        weights: [n] of their offsets.
        jacobian: [n, 6] of the outline's way outwards (pixels) by a twist (rad, mm) of the first
            camera's axes about the body's centre.
    """

    outline: Outline
    found: EdgesFound
    weights: NDArray
    jacobian: NDArray


def fit_outlines(
    level: OutlineLevel,
    bodies: Sequence[Edges],
    poses: Poses,
    reach_px: float,
    iterations: int,
    least_width_px: float = 1.0,
) -> Poses:
    """Move bodies, all together, until their outlines lie on edges of the X-rays.

    Gauss-Newton on the distances along normals, with Cauchy weights.

    Args:
        level: the X-rays.
        bodies: opaque ones; what one of them hides of another is not compared.
        poses: of the bodies in the first camera, to start from.
        reach_px: how far off an edge may be.
        iterations: at most.
        least_width_px: of the robust kernel, which is as wide as the offsets spread, but no less.
    """
    poses = list(poses)
    for _ in range(iterations):
        sightings = _sightings(level, bodies, poses, reach_px)
        steps = [_step([_robust(one, least_width_px) for one in seen]) for seen in sightings]
        poses = [_moved(*pair) for pair in zip(steps, poses, bodies, strict=True)]
        if all(_is_small(step) for step in steps):
            break
    return poses


def shares_explained(
    level: OutlineLevel, bodies: Sequence[Edges], poses: Poses, reach_px: float, tolerance_px: float
) -> list[list[float]]:
    """Return for each body, in each view, the share of its outline that is an edge (0 to 1)."""
    return [
        [one.found.share_explained(one.outline.lengths, tolerance_px) for one in seen]
        for seen in _sightings(level, bodies, poses, reach_px)
    ]


def beside(
    views: Sequence[View], bodies: Sequence[Edges], poses: Poses, margin_px: int
) -> tuple[View, ...]:
    """Return views without what opaque bodies hide, and a margin around it."""
    nearby = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin_px + 1,) * 2)
    found = []
    for view, other_from_first in zip(views, cameras_from_first(views), strict=True):
        there = [(other_from_first @ pose).numpy() for pose in poses]
        hidden = np.maximum.reduce(_silhouettes(view.camera, bodies, there))
        mask = torch.from_numpy(cv2.dilate(hidden, nearby) == 0)
        found.append(replace(view, mask=mask if view.mask is None else mask & view.mask.cpu()))
    return tuple(found)


@dataclass(frozen=True, eq=False)
class OutlineEvidence:
    """What the X-rays say of one body's pose.

    Attributes:
        covariance: [6, 6] of the twist (rad, mm) in the first camera's axes about the centre.
        explained: of each view, the share of the visible outline that is an edge.
        visible: of each view, the share of the outline that is in the image.
        residual_px: of each view, the robust rms distance of edges.
    """

    covariance: Float64[Tensor, '6 6']
    explained: tuple[float, ...]
    visible: tuple[float, ...]
    residual_px: tuple[float, ...]


def evidence_of(
    level: OutlineLevel,
    bodies: Sequence[Edges],
    poses: Poses,
    reach_px: float,
    outward: float,
    least_width_px: float = 0.7,
) -> list[OutlineEvidence]:
    """Return what speaks for each body's pose.

    Args:
        level: the X-rays.
        bodies: as in `fit_outlines`.
        poses: where it ended.
        reach_px: how far off an edge may be.
        outward: standard deviation of what puts all edges of a view farther out, or farther in, as
            a share of the width of their blur: a detector's curve moves the steepest place.
        least_width_px: as in `fit_outlines`.
    """
    results = []
    for seen in _sightings(level, bodies, poses, reach_px):
        robust = [_robust(one, least_width_px) for one in seen]
        results.append(
            OutlineEvidence(
                _covariance(robust, outward),
                tuple(one.found.share_explained(one.outline.lengths, 1.0) for one in seen),
                tuple(
                    float((one.outline.lengths * one.found.is_seen).sum())
                    / max(float(one.outline.lengths.sum()), 1e-9)
                    for one in seen
                ),
                tuple(
                    float(np.sqrt((one.weights * one.found.offsets**2).sum() / one.weights.sum()))
                    if one.weights.sum() > 0
                    else float('nan')
                    for one in robust
                ),
            )
        )
    return results


def _sightings(
    level: OutlineLevel, bodies: Sequence[Edges], poses: Poses, reach_px: float
) -> list[list[_Sighting]]:
    """Return of each body what each view shows."""
    seen: list[list[_Sighting]] = [[] for _ in bodies]
    for image, other_from_first in zip(level.images, level.camera_from_first, strict=True):
        own = [(other_from_first @ pose).numpy() for pose in poses]
        masks = _silhouettes(image.camera, bodies, own) if len(bodies) > 1 else []
        for index, body in enumerate(bodies):
            others = None
            if masks:
                rest = [mask for other, mask in enumerate(masks) if other != index]
                others = np.maximum.reduce(rest)
            drawn = outline(body, own[index], image.camera, _POINT_EVERY_PX, others)
            found = find_edges(image, drawn, reach_px)
            jacobian = _jacobian(drawn, image.camera, own[index], body, other_from_first.numpy())
            seen[index].append(_Sighting(drawn, found, _weights(drawn, found), jacobian))
    return seen


def _silhouettes(
    camera: Camera, bodies: Sequence[Edges], poses: Sequence[NDArray]
) -> list[NDArray]:
    masks = []
    for body, pose in zip(bodies, poses, strict=True):
        mask = np.zeros(camera.size, np.uint8)
        draw_silhouette(mask, body, project(body, pose, camera.K.numpy())[1], (0, 0))
        masks.append(mask)
    return masks


def _weights(drawn: Outline, found: EdgesFound) -> NDArray:
    """Weigh edges by the length of outline, faint ones less."""
    is_edge = found.steepness > 0
    if not is_edge.any():
        return np.zeros(len(drawn.lengths))
    faint = _FAINT * np.median(found.steepness[is_edge])
    return drawn.lengths * found.is_seen * found.steepness**2 / (found.steepness**2 + faint**2)


def _robust(one: _Sighting, least_width_px: float) -> _Sighting:
    """Return a sighting with Cauchy weights."""
    used = one.weights > 0
    if not used.any():
        return one
    width = max(least_width_px, 1.4826 * float(np.median(np.abs(one.found.offsets[used]))))
    weights = one.weights / (1 + (one.found.offsets / width) ** 2)
    return _Sighting(one.outline, one.found, weights, one.jacobian)


def _jacobian(
    drawn: Outline, camera: Camera, pose: NDArray, body: Edges, other_from_first: NDArray
) -> NDArray:
    """Return [n, 6]: a rim that moves along its surface stays where it is in the image."""
    K, normals, z = camera.K.numpy(), drawn.normals, drawn.points[:, 2]
    in_pixels = normals @ K[:2, :2]
    by_point = np.stack(
        [
            in_pixels[:, 0] / z,
            in_pixels[:, 1] / z,
            -(in_pixels * drawn.points[:, :2]).sum(1) / z**2,
        ],
        axis=1,
    )
    centre = pose[:3, :3] @ body.centre + pose[:3, 3]
    turned = np.cross(drawn.points - centre, by_point)
    R = other_from_first[:3, :3]
    return np.concatenate([turned @ R, by_point @ R], axis=1)


def _normal_matrix(seen: Sequence[_Sighting]) -> NDArray:
    return np.sum([(one.jacobian * one.weights[:, None]).T @ one.jacobian for one in seen], axis=0)


def _step(seen: Sequence[_Sighting]) -> NDArray:
    """Return the twist [6] that the edges want; 0 where too little is in view."""
    if sum(int((one.weights > 0).sum()) for one in seen) < _FEWEST_POINTS:
        return np.zeros(6)
    H = _normal_matrix(seen)
    g = np.sum([one.jacobian.T @ (one.weights * one.found.offsets) for one in seen], axis=0)
    scale = np.diag(H) + 1e-9 * np.trace(H)
    step = np.linalg.solve(H + _DAMPING * np.diag(scale), g)
    turn, shift = np.linalg.norm(step[:3]), np.linalg.norm(step[3:])
    return np.asarray(step / max(turn / _LARGEST_TURN_RAD, shift / _LARGEST_SHIFT_MM, 1.0))


def _moved(step: NDArray, pose: Float64[Tensor, '4 4'], body: Edges) -> Float64[Tensor, '4 4']:
    return se3.apply_twist(torch.from_numpy(step), pose, torch.from_numpy(body.centre))


def _is_small(step: NDArray) -> bool:
    return bool(np.abs(step[:3]).max() < _SETTLED_RAD and np.abs(step[3:]).max() < _SETTLED_MM)


def _covariance(seen: Sequence[_Sighting], outward: float) -> Float64[Tensor, '6 6']:
    """Return the cluster-robust covariance, and what edges that all lie too far out add to it."""
    inverse = np.linalg.pinv(_normal_matrix(seen), hermitian=True)
    total = np.zeros((6, 6))
    for one in seen:
        forces = one.jacobian * (one.weights * one.found.offsets)[:, None]
        cells = np.floor(one.outline.pixels / _PATCH_PX).astype(np.int64)
        _, patch = np.unique(cells, axis=0, return_inverse=True)
        patch = patch.reshape(-1)
        sums = np.zeros((int(patch.max(initial=-1)) + 1, 6))
        np.add.at(sums, patch, forces)
        widths = one.found.widths[one.weights > 0]
        width = float(np.median(widths)) if len(widths) else 0.0
        common = outward * width * one.jacobian.T @ one.weights
        total += sums.T @ sums + np.outer(common, common)
    covariance = inverse @ total @ inverse
    return torch.from_numpy((covariance + covariance.T) / 2)
