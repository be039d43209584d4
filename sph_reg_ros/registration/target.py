"""The part of the anatomy that the verdict on a pose is about."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from sph_reg_ros.errors import BodyError, ErrorCode
from sph_reg_ros.geometry import Camera, se3
from sph_reg_ros.geometry.box import landmark_grid
from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.imaging.bodies.body import Bodies, Body
from sph_reg_ros.imaging.bodies.labels import LabelMap
from sph_reg_ros.imaging.bodies.parts import Coverage, Remainder, coverage_in_ct, grown
from sph_reg_ros.imaging.load_bodies import label_numbers

MOST_POINTS = 20_000
MIN_IN_VIEW = 0.5
"""Share of the target that has to be in the image of an X-ray."""
_NUMBER = re.compile(r'[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?')


@dataclass(frozen=True, eq=False)
class Target:
    """A part of the anatomy.

    Attributes:
        name: as the user gave it.
        points: corners and face centres of its box [14, 3], CT coordinates (mm); errors are means
            over them.
        inside: points [n, 3] that fill it, CT coordinates (mm).
        part: what of it attenuates beyond soft tissue, and the rest of the CT; None: it is one of
            the request's bodies, which are found anyway.
    """

    name: str
    points: Float64[Tensor, '14 3']
    inside: Float64[Tensor, 'n 3']
    part: Bodies | None = None

    def silhouette(
        self, camera_from_ct: Float64[Tensor, '4 4'], camera: Camera
    ) -> Bool[Tensor, 'H W']:
        """Return the pixels that it projects to; those between its points are filled."""
        pixels = camera.project(se3.transform_points(camera_from_ct, self.inside)).round().long()
        pixels = pixels[_in_image(pixels, camera)]
        shadow = torch.zeros(camera.size)
        shadow[pixels[:, 1], pixels[:, 0]] = 1.0
        pool, side = torch.nn.functional.max_pool2d, 2 * (max(camera.size) // 100) + 1
        return -pool(-pool(shadow[None], side, 1, side // 2), side, 1, side // 2)[0] > 0

    def share_in_view(self, camera_from_ct: Float64[Tensor, '4 4'], camera: Camera) -> float:
        """Return how much of it projects into the image."""
        points = se3.transform_points(camera_from_ct, self.inside)
        seen = _in_image(camera.project(points).round(), camera) & (points[:, 2] > 0)
        return float(seen.double().mean())


def find_target(
    name: str,
    ct: AttenuationVolume,
    labels: LabelMap | None = None,
    bodies: Bodies | None = None,
    energy_kev: float = 60.0,
) -> Target | None:
    """Return what a user names; None for '', which is the whole region.

    Args:
        name: of a body, of a label, the number of a label, or a box: six numbers, lowest and
            highest x, y and z in CT coordinates (LPS, mm).
        ct: attenuation of the CT.
        labels: of the CT; None if there are none.
        bodies: what moves for itself; None: the CT is one rigid body.
        energy_kev: that the CT's attenuation is of.

    Raises:
        BodyError: TARGET_INVALID if there is no such target in the CT, BODY_LABELS if the label map
            has no such label.
    """
    name = name.strip()
    if not name:
        return None
    for body in bodies or ():
        if body.name == name:
            return _around(name, se3.transform_points(body.ct_from_body, _filling(body.volume)))
    numbers = [part for part in re.split(r'[,;\s]+', name) if part]
    if len(numbers) == 6 and all(map(_NUMBER.fullmatch, numbers)):
        return _cut_out(name, ct, _box(name, list(map(float, numbers)), ct), energy_kev)
    if labels is None:
        known = ', '.join(body.name for body in bodies or ()) or 'none'
        raise BodyError(
            ErrorCode.TARGET_INVALID,
            f'target {name!r} is no box (six numbers: lowest and highest x, y, z, mm) and none of '
            f'the bodies ({known}); for a label, give a label map of the CT',
        )
    return _cut_out(name, ct, _label(name, labels, ct), energy_kev)


def require_in_view(
    target: Target, poses: Sequence[Float64[Tensor, '4 4']], cameras: Sequence[Camera]
) -> None:
    """Raise BodyError TARGET_OUT_OF_VIEW unless every X-ray shows enough of a target."""
    for number, (pose, camera) in enumerate(zip(poses, cameras, strict=True), 1):
        share = target.share_in_view(pose, camera)
        if share < MIN_IN_VIEW:
            raise BodyError(
                ErrorCode.TARGET_OUT_OF_VIEW,
                f'X-ray {number} shows {share:.0%} of the target {target.name!r}, '
                f'{MIN_IN_VIEW:.0%} are needed: take one that shows it, or name another target',
            )


def _box(name: str, limits: Sequence[float], ct: AttenuationVolume) -> Coverage:
    """Return which voxels lie in a box."""
    low, high = torch.tensor(limits, dtype=torch.float64).reshape(3, 2).unbind(1)
    if not bool((low < high).all()):
        raise BodyError(
            ErrorCode.TARGET_INVALID,
            f'target {name!r}: give the lowest and the highest x, then y, then z (LPS, mm)',
        )
    corners = torch.cartesian_prod(*torch.stack([low, high], 1))
    affine = ct.ct_from_index.cpu()
    index = se3.transform_points(torch.linalg.inv(affine), corners).flip(1)
    size = torch.tensor(ct.shape)
    first = index.amin(0).floor().long().clamp(min=0)
    last = torch.minimum(index.amax(0).ceil().long() + 1, size)
    if bool((first >= last).any()):
        raise BodyError(
            ErrorCode.TARGET_INVALID,
            f'target {name!r} lies outside of the CT: it is to be in LPS coordinates, mm',
        )
    axes = [
        torch.arange(*pair).double() for pair in zip(first.tolist(), last.tolist(), strict=True)
    ]
    k, j, i = torch.meshgrid(*axes, indexing='ij')
    points = se3.transform_points(affine, torch.stack([i, j, k], -1))
    start_k, start_j, start_i = first.tolist()
    share = ((points >= low) & (points <= high)).all(-1).float()
    return Coverage(share, (start_k, start_j, start_i))


def _label(name: str, labels: LabelMap, ct: AttenuationVolume) -> Coverage:
    """Return which voxels belong to a label, with their blurred edge as in `load_bodies`."""
    label = int(name) if name.isdecimal() else name
    mask = np.isin(labels.labels, label_numbers(labels, (label,), 'the label map'))
    share = grown(mask, labels.labels == 0).astype(np.float32)
    coverage = coverage_in_ct(share, labels.lps_from_index, ct) if mask.any() else None
    if coverage is None or coverage.inside < 0.5:
        raise BodyError(
            ErrorCode.TARGET_INVALID,
            f'target {name!r} does not lie in the CT: the label map is of another CT, or has no '
            'voxel of it',
        )
    return coverage


def _cut_out(name: str, ct: AttenuationVolume, coverage: Coverage, energy_kev: float) -> Target:
    remainder = Remainder(ct, energy_kev)
    dense = remainder.cut(coverage)
    if not bool((dense > 0).any()):
        raise BodyError(
            ErrorCode.TARGET_INVALID,
            f'target {name!r} holds nothing that is denser than soft tissue: no X-ray shows where '
            'it is; name the bone next to it',
        )
    volume = remainder.part(dense, coverage.start)
    part = Bodies((Body(name, volume),), remainder.volume)
    index = torch.nonzero(coverage.share > 0).flip(1).double()
    return _around(name, se3.transform_points(volume.ct_from_index.cpu(), index), part)


def _filling(volume: AttenuationVolume) -> Float64[Tensor, 'n 3']:
    """Return the middles of the voxels of a body."""
    index = torch.nonzero(volume.mu.cpu() > 0).flip(1).double()
    return se3.transform_points(volume.ct_from_index.cpu(), index)


def _around(name: str, points: Float64[Tensor, 'n 3'], part: Bodies | None = None) -> Target:
    if not len(points):
        raise BodyError(ErrorCode.TARGET_INVALID, f'target {name!r} holds no voxel of the CT')
    low, high = points.amin(0), points.amax(0)
    x, y, z = ((high - low) / 2).tolist()
    few = points[:: -(-len(points) // MOST_POINTS)]
    return Target(name, landmark_grid((low + high) / 2, (x, y, z)), few, part)


def _in_image(pixels: Tensor, camera: Camera) -> Bool[Tensor, 'n']:
    size = torch.tensor([camera.width, camera.height])
    return ((pixels >= 0) & (pixels < size)).all(1)
