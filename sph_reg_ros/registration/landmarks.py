"""A pose from pairs of CT points and pixels: the perspective-n-point problem, solved by OpenCV."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.errors import ErrorCode, PoseError
from sph_reg_ros.geometry import Camera, se3, so3

FEWEST = 4
_THINNEST_MM = 3.0
"""Points that keep closer than this to a line (RMS) leave the turn about it open."""
_LARGEST_ERROR, _CLICK_ERROR = 0.008, 0.003
"""What pairs may be off, and what a careful click is off, in focal lengths: a share of the
distance from source to detector, so that it does not depend on the size of the pixels."""
_LEAST_PX = 3.0
_DISTINCT_RAD = math.radians(10)
_LARGEST_DEVIATIONS = (math.radians(15), 100.0)
"""Rotation, and mm along the beam; a pose that is less certain is no start."""


@dataclass(frozen=True, eq=False)
class Landmarks:
    """Points of the anatomy that were found in the CT and in an X-ray.

    Attributes:
        ct_mm: points [N, 3] in CT coordinates (LPS, mm).
        pixels: the same points [N, 2] in the image (column, row).
        names: of the points, for messages.
    """

    ct_mm: Float64[np.ndarray, 'N 3']
    pixels: Float64[np.ndarray, 'N 2']
    names: tuple[str, ...]

    def without(self, number: int) -> 'Landmarks':
        """Return all pairs but one."""
        kept = [n for n in range(len(self.names)) if n != number]
        return Landmarks(self.ct_mm[kept], self.pixels[kept], tuple(self.names[n] for n in kept))

    def errors_px(self, camera_from_ct: Float64[Tensor, '4 4'], camera: Camera) -> Any:
        """Return how far from their pixels the points [N] are projected."""
        points = se3.transform_points(camera_from_ct.double(), torch.from_numpy(self.ct_mm))
        return np.linalg.norm(camera.project(points).numpy() - self.pixels, axis=1)


@dataclass(frozen=True, eq=False)
class LandmarkPose:
    """The pose that pairs lead to.

    Attributes:
        camera_from_ct: pose [4, 4] (mm).
        errors_px: distance [N] of each projected point from its pixel.
        rotation_rad: standard deviation of the least certain rotation.
        depth_mm: standard deviation along the beam.
    """

    camera_from_ct: Float64[Tensor, '4 4']
    errors_px: Float64[np.ndarray, ' N']
    rotation_rad: float
    depth_mm: float


def tolerance_px(camera: Camera) -> float:
    """Return how far pairs may be off before they count as wrong."""
    return max(_LEAST_PX, _LARGEST_ERROR * camera.focal_length)


def pose_from_landmarks(landmarks: Landmarks, camera: Camera) -> LandmarkPose:
    """Return the pose at which the points are projected to their pixels.

    Images that are mirrored or turned against the detector are understood, as `camera` says so.

    Raises:
        PoseError: too few pairs, points on a line, pairs that contradict each other, or two poses
            that fit equally well.
    """
    _require_spread(landmarks)
    solutions = _solutions(landmarks, camera)
    if not solutions or not _fits(solutions[0], landmarks, camera):
        raise _wrong_pairs(landmarks, camera, solutions)
    best = solutions[0]
    click_px = max(1.0, _CLICK_ERROR * camera.focal_length)
    doubtful = max(2 * _rms(landmarks.errors_px(best, camera)), click_px)
    for other in solutions[1:]:
        error_px = _rms(landmarks.errors_px(other, camera))
        turn = float(so3.log(other[:3, :3] @ best[:3, :3].T).norm())
        if error_px <= doubtful and turn > _DISTINCT_RAD:
            raise _invalid(
                f'two poses fit the landmarks, {math.degrees(turn):.0f} degrees apart '
                f'({_rms(landmarks.errors_px(best, camera)):.1f} and {error_px:.1f} px): the '
                'points lie nearly in one plane; add a point well before or behind it'
            )
    errors_px = landmarks.errors_px(best, camera)
    rotation, depth = _deviations(landmarks, camera, best, max(click_px, _rms(errors_px)))
    if rotation > _LARGEST_DEVIATIONS[0] or depth > _LARGEST_DEVIATIONS[1]:
        raise _invalid(
            f'the landmarks tell the pose to {math.degrees(rotation):.0f} degrees and {depth:.0f} '
            'mm along the beam only: use more points, further apart in all directions'
        )
    return LandmarkPose(best, errors_px, rotation, depth)


def _require_spread(landmarks: Landmarks) -> None:
    count = len(landmarks.names)
    if count < FEWEST:
        raise _invalid(
            f'{count} landmarks: at least {FEWEST} pairs of CT point and pixel are needed, 6 are '
            'better'
        )
    for what, places in (('CT point', landmarks.ct_mm), ('pixel', landmarks.pixels)):
        for first in range(count):
            for second in range(first):
                if np.allclose(places[first], places[second], atol=1e-6):
                    names = f'{landmarks.names[second]} and {landmarks.names[first]}'
                    raise _invalid(f'landmarks {names} have the same {what}')
    spread = np.linalg.svd(landmarks.ct_mm - landmarks.ct_mm.mean(0), compute_uv=False)
    if spread[1] / math.sqrt(count) < _THINNEST_MM:
        raise _invalid(
            'the CT points of the landmarks lie on one line, or are one place (in mm?): choose '
            'points beside it'
        )


def _solutions(landmarks: Landmarks, camera: Camera) -> list[Float64[Tensor, '4 4']]:
    """Return poses that fit best in their neighbourhood, the best one first."""
    import cv2  # takes a while

    middle = landmarks.ct_mm.mean(0)
    points = landmarks.ct_mm - middle
    rays = _rays(landmarks, camera)
    identity = np.eye(3)
    _, rotations, shifts, _ = cv2.solvePnPGeneric(
        points, rays, identity, None, flags=cv2.SOLVEPNP_SQPNP
    )
    starts = list(zip(rotations, shifts, strict=True))
    normal = np.linalg.svd(points)[2][2]
    found = []
    for rotation, shift in [*starts, *(_reversed(*start, normal) for start in starts)]:
        rotation, shift = cv2.solvePnPRefineLM(
            points, rays, identity, None, rotation.copy(), shift.copy()
        )
        turn = cv2.Rodrigues(rotation)[0]
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = turn, shift[:, 0] - turn @ middle
        in_front = bool((landmarks.ct_mm @ pose[2, :3] + pose[2, 3] > 0).all())
        if in_front and np.isfinite(pose).all():
            found.append(torch.from_numpy(pose))
    return sorted(found, key=lambda pose: _rms(landmarks.errors_px(pose, camera)))


def _reversed(rotation: Any, shift: Any, normal: Any) -> tuple[Any, Any]:
    """Return the pose that looks alike from far away if the points lie in a plane."""
    import cv2

    turn = cv2.Rodrigues(rotation)[0]
    beam = shift[:, 0] / np.linalg.norm(shift)
    mirrored_beam = np.eye(3) - 2 * np.outer(beam, beam)
    mirrored_plane = np.eye(3) - 2 * np.outer(normal, normal)
    return cv2.Rodrigues(mirrored_beam @ turn @ mirrored_plane)[0], shift


def _rays(landmarks: Landmarks, camera: Camera) -> Float64[np.ndarray, 'N 2']:
    """Return the pixels on a plane at distance 1; whatever turns or mirrors the image is gone."""
    homogeneous = np.c_[landmarks.pixels, np.ones(len(landmarks.pixels))]
    return np.ascontiguousarray((homogeneous @ np.linalg.inv(camera.K.numpy()).T)[:, :2])


def _deviations(
    landmarks: Landmarks, camera: Camera, pose: Tensor, error_px: float
) -> tuple[float, float]:
    """Return standard deviations of the least certain rotation (rad) and along the beam (mm)."""
    middle = torch.from_numpy(landmarks.ct_mm.mean(0))
    step = 1e-4
    columns = []
    for axis in range(6):
        twist = torch.zeros(6, dtype=torch.float64)
        twist[axis] = step
        moved = se3.apply_twist(twist, pose, middle)
        ends = [
            camera.project(se3.transform_points(T, torch.from_numpy(landmarks.ct_mm))).numpy()
            for T in (moved, pose)
        ]
        columns.append((ends[0] - ends[1]).ravel() / step)
    jacobian = np.stack(columns, 1)
    # Each of the two coordinates of a pixel has its share of the error.
    covariance = np.linalg.pinv(jacobian.T @ jacobian, rcond=1e-15) * error_px**2 / 2
    return float(np.linalg.eigvalsh(covariance[:3, :3])[-1] ** 0.5), float(covariance[5, 5] ** 0.5)


def _fits(pose: Tensor, landmarks: Landmarks, camera: Camera) -> bool:
    errors, tolerance = landmarks.errors_px(pose, camera), tolerance_px(camera)
    # Few pairs fit any pose: two coordinates each, of which the pose takes six.
    freedom = 1 - 3 / len(errors)
    return _rms(errors) <= tolerance * freedom**0.5 and float(errors.max()) <= 2 * tolerance


def _wrong_pairs(landmarks: Landmarks, camera: Camera, solutions: list[Tensor]) -> PoseError:
    """Return an error that names the pair without which the others fit, if there is one."""
    if len(landmarks.names) > FEWEST + 1:
        culprits = []
        for number, name in enumerate(landmarks.names):
            others = landmarks.without(number)
            poses = _solutions(others, camera)
            if poses and _fits(poses[0], others, camera):
                off = float(landmarks.errors_px(poses[0], camera)[number])
                culprits.append((_rms(others.errors_px(poses[0], camera)), name, off))
        if culprits:
            rest_px, name, off = min(culprits)
            return _invalid(
                f'landmark {name} does not fit the others: it is {off:.0f} px off where they agree '
                f'to {rest_px:.1f} px; correct or remove it'
            )
    where = 'no pose has all of them in front of the source'
    if solutions:
        off_px = _rms(landmarks.errors_px(solutions[0], camera))
        where = f'at the best pose they are {off_px:.0f} px off on average'
    return _invalid(
        f'the landmarks contradict each other: {where}; check that pixels are column, row, that CT '
        'points are in LPS and mm, that each pair is the same point, that the image is not '
        'mirrored, and the camera'
    )


def _rms(errors: Any) -> float:
    return float(np.sqrt(np.mean(np.square(errors))))


def _invalid(reason: str) -> PoseError:
    return PoseError(ErrorCode.POSE_INVALID, reason)
