"""One row per image: result messages compared with the truth."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.errors import ErrorCode
from sph_reg_ros.errors import PoseError as NoPoseError
from sph_reg_ros.evaluation.metrics import PoseError, pose_error
from sph_reg_ros.geometry import Camera
from sph_reg_ros.geometry.box import landmarks_within
from sph_reg_ros.geometry.carm import angles_from_camera_from_ct, format_angles
from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.messages.conversions import MM_PER_M, NANOSECONDS, matrix_from_pose, nanoseconds
from sph_reg_ros.messages.message_types import Message
from sph_reg_ros.messages.xray_view import XRayView
from sph_reg_ros.registration.error_parts import ErrorParts, VerdictFor
from sph_reg_ros.registration.result import Verdict
from sph_reg_ros.registration.suggested_view import SuggestedView
from sph_reg_ros.replay.bag_reader import BagInputs
from sph_reg_ros.replay.pose_files import StampedPoses, read_tum
from sph_reg_ros.replay.record import BodyRow, CheckRow, ImageRow, MovedRow
from sph_reg_ros.service.result_messages import FIGURES

Matrix = Float64[np.ndarray, '4 4']
LANDMARK_BOX_MM = (60.0, 60.0, 60.0)
"""Half sizes of the box about the middle of the CT whose points errors are of; cut to the CT."""


@dataclass(frozen=True)
class Judge:
    """Compares poses with the truth of a bag.

    Attributes:
        landmarks_mm: points of the anatomy, CT coordinates.
        truth: where the patient was; None if nobody knows.
        tolerance_ns: how far from an image's stamp a true pose may be.
    """

    landmarks_mm: Float64[Tensor, '14 3']
    truth: StampedPoses | None
    tolerance_ns: int

    def error(self, pose: Matrix | None, view: XRayView | None) -> PoseError | None:
        """Return the error of a camera_from_ct; None if it or the truth is not known."""
        if pose is None or view is None:
            return None
        truth = self._truth(view)
        if truth is None:
            return None
        camera = Camera(torch.from_numpy(view.K), *view.pixels.shape)
        return pose_error(
            torch.from_numpy(pose), torch.from_numpy(truth), self.landmarks_mm, camera, 1.0
        )

    def _truth(self, view: XRayView) -> Matrix | None:
        found = None if self.truth is None else self.truth.at(view.stamp_ns, self.tolerance_ns)
        if found is None:
            return None
        matrix, frame = found
        if frame in ('', view.frame_id):
            return matrix
        if view.imager is not None and frame == view.imager.frame_id:
            return np.linalg.inv(view.imager.matrix) @ matrix
        return None


def landmarks_of(volume: AttenuationVolume) -> Float64[Tensor, '14 3']:
    """Return the points of a CT whose distances are the errors, CT coordinates (mm)."""
    affine = volume.ct_from_index
    extent_mm = affine[:3, :3].abs() @ (torch.tensor(volume.shape[::-1]).double() - 1)
    return landmarks_within(volume.centre, LANDMARK_BOX_MM, extent_mm.tolist())


def truths_of(inputs: BagInputs, source: str, tolerance_ns: int) -> tuple[StampedPoses | None, ...]:
    """Return the truth in each run of the bag; None for ''.

    Args:
        inputs: of the bag.
        source: TUM file, patient in imager, or a topic of poses.
        tolerance_ns: how far from an image's stamp a true pose may be.

    Raises:
        PoseError: the file or a message holds no pose, or no image has one.
        BagError: there is neither such a file nor such a topic.
    """
    if not source:
        return (None,) * inputs.runs
    if Path(source).is_file():
        truths = (read_tum(Path(source)),) * inputs.runs
    else:
        truths = tuple(map(_stamped, inputs.poses(source)))
    near = [truths[shot.run].at(shot.stamp_ns, tolerance_ns) for shot in inputs.shots]
    frames = {'', *inputs.frames}
    # Hours of work would end without the figures that they were for.
    if not any(found is not None and found[1] in frames for found in near):
        raise NoPoseError(
            ErrorCode.POSE_INVALID,
            f'truth {source}: no image has a pose within {tolerance_ns / NANOSECONDS:g} s of its '
            f'stamp in one of the frames {", ".join(sorted(inputs.frames))}',
        )
    return truths


def _stamped(found: Iterable[Message]) -> StampedPoses:
    messages = sorted(found, key=lambda m: nanoseconds(m.header.stamp))
    poses = [m.pose.pose if hasattr(m.pose, 'pose') else m.pose for m in messages]
    return StampedPoses(
        tuple(nanoseconds(m.header.stamp) for m in messages),
        tuple(matrix_from_pose(pose) for pose in poses),
        tuple(m.header.frame_id for m in messages),
    )


def tolerance_ns(seconds: float) -> int:
    """Return a difference of stamps as an integer."""
    return round(seconds * NANOSECONDS)


def body_truths_of(
    inputs: BagInputs, source: str, names: Iterable[str]
) -> dict[str, tuple[StampedPoses, ...]]:
    """Return the truth of bodies in each run of the bag: topics below that of the patient's.

    Args:
        inputs: of the bag.
        source: as in `truths_of`.
        names: of the bodies; those without a topic have no truth.
    """
    topics = {name: f'{source}/{name}' for name in names}
    return {
        name: tuple(map(_stamped, inputs.poses(topic)))
        for name, topic in topics.items()
        if source and inputs.has_poses(topic)
    }


def image_row(
    number: int,
    result: Message,
    view: XRayView | None,
    start: Matrix | None,
    judge: Judge,
    body_judges: Mapping[str, Judge] | None = None,
) -> ImageRow:
    """Return the row of an image.

    Args:
        number: of the image, from 1.
        result: RegistrationResult.
        view: the X-ray; None if it was refused before its companions were found.
        start: initial camera_from_ct (mm).
        judge: knows the truth.
        body_judges: know those of bodies, by name.
    """
    has_pose = result.termination not in (result.NOT_RUN, result.FAILED)
    pose = matrix_from_pose(result.pose.pose) if has_pose else None
    imager = view.imager if view is not None else None
    bodies = result.bodies if has_pose else []
    return ImageRow(
        number=number,
        stamp_ns=nanoseconds(result.header.stamp),
        frame_id=result.header.frame_id,
        verdict=_verdict(result),
        reason=_reason(ErrorCode(result.error.code), result.error_message),
        view='' if pose is None else _angles(pose),
        camera_from_ct=None if pose is None else pose.tolist(),
        fixed_frame=imager.frame_id if imager else '',
        fixed_from_camera=imager.matrix.tolist() if imager else None,
        similarity_before=result.similarity_before,
        similarity_after=result.similarity_after,
        **_bounds(result),
        runner_up_mm=result.runner_up_distance * MM_PER_M,
        iterations=result.iterations,
        method=result.method,
        backend=result.backend,
        device=result.device,
        start_error=judge.error(start, view),
        error=judge.error(pose, view),
        checks=tuple(CheckRow(c.name, c.value, c.limit, bool(c.passed)) for c in result.checks),
        warnings=tuple(result.warnings),
        seconds=result.compute_time,
        bodies=tuple(_body_row(body, view, (body_judges or {}).get(body.name)) for body in bodies),
        target=result.target,
        moved=tuple(map(_moved_row, result.moved)),
        next_view=' '.join(map(_next_view, result.next_view)),
    )


def _body_row(body: Message, view: XRayView | None, judge: Judge | None) -> BodyRow:
    pose = matrix_from_pose(body.pose.pose)
    return BodyRow(
        name=body.name,
        verdict=Verdict(body.verdict).name,
        reason=_reason(ErrorCode(body.error.code), body.error_message),
        camera_from_body=pose.tolist(),
        translation_mm=body.translation * MM_PER_M,
        rotation_deg=math.degrees(body.rotation),
        **_bounds(body),
        error=None if judge is None else judge.error(pose, view),
    )


def _next_view(part: Message) -> str:
    sizes = (part.tre_p95, part.tre_p95_across, part.tre_p95_along)
    bound = ErrorParts(*(MM_PER_M * metres for metres in sizes))
    return str(SuggestedView(part.primary, part.secondary, part.turned, bound))


def _moved_row(part: Message) -> MovedRow:
    centre = (part.centre.x, part.centre.y, part.centre.z)
    return MovedRow(
        box=[float(share) for share in part.box],
        centre_lps_mm=[MM_PER_M * metres for metres in centre],
        extent_mm=[MM_PER_M * metres for metres in (part.width, part.height)],
        shift_mm=[MM_PER_M * metres for metres in (part.shift_columns, part.shift_rows)],
    )


def _bounds(result: Message) -> dict[str, Any]:
    """Return bounds and what the verdict is for, by the names of the row's fields."""
    return {
        'bound_mm': result.tre_p95 * MM_PER_M,
        'bound_across_mm': result.tre_p95_across * MM_PER_M,
        'bound_along_mm': result.tre_p95_along * MM_PER_M,
        'verdict_for': VerdictFor(result.verdict_for).name,
    }


def numbered(rows: Iterable[ImageRow]) -> tuple[ImageRow, ...]:
    """Return the rows of a bag in the order of runs and stamps, numbered from 1."""
    ordered = sorted(rows, key=lambda row: (row.run, row.stamp_ns))
    return tuple(replace(row, number=number) for number, row in enumerate(ordered, 1))


def _verdict(result: Message) -> str:
    names = ('UNVERIFIED', 'VERIFIED', 'REJECTED')
    return {getattr(result, name): name for name in names}[result.verdict]


def _reason(code: ErrorCode, text: str) -> str:
    """Return an error without the figures of its checks, which have columns of their own."""
    sentences = text.partition(FIGURES)[0]
    return sentences if code == ErrorCode.NONE else f'{code.name}: {sentences}'


def _angles(pose: Matrix) -> str:
    return format_angles(*angles_from_camera_from_ct(torch.from_numpy(pose)))
