"""Pose files: CSV with every figure, and TUM; truth is read from both."""

import bisect
import csv
import io
import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from transforms3d.quaternions import mat2quat, quat2mat

from sph_reg_ros.errors import ErrorCode, PoseError
from sph_reg_ros.messages.conversions import MM_PER_M, NANOSECONDS
from sph_reg_ros.replay.record import ImageRow

Matrix = Float64[np.ndarray, '4 4']
_POSE = ('x_m', 'y_m', 'z_m', 'qx', 'qy', 'qz', 'qw')
_ERRORS = ('mtre_mm', 'in_plane_mm', 'depth_mm', 'rotation_deg', 'mpd_mm')
_BOUNDS = ('bound_mm', 'bound_across_mm', 'bound_along_mm')
COLUMNS = (
    *('number', 'stamp_ns', 'frame_id', 'verdict', 'verdict_for', 'reason', *_POSE),
    *('similarity_before', 'similarity_after', *_BOUNDS, 'runner_up_mm', 'iterations', 'method'),
    *('start_mtre_mm', *_ERRORS),
)


BODY_COLUMNS = (
    *('number', 'stamp_ns', 'frame_id', 'body', 'verdict', 'verdict_for', 'reason', *_POSE),
    *('moved_mm', 'moved_deg', *_BOUNDS, *_ERRORS),
)


def csv_text(rows: Iterable[ImageRow]) -> str:
    """Return one line an image: patient in imager (m, quaternion), figures, errors.

    It holds no times of computation, so that the same bag gives the same text.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator='\n')
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow(_csv_row(row))
    return buffer.getvalue()


def bodies_csv_text(rows: Iterable[ImageRow]) -> str:
    """Return one line a body and image: body in imager (m, quaternion), motion, errors."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator='\n')
    writer.writerow(BODY_COLUMNS)
    for row in rows:
        for body in row.bodies:
            matrix = np.array(body.camera_from_body)
            w, x, y, z = mat2quat(matrix[:3, :3])
            writer.writerow(
                [
                    *(row.number, row.stamp_ns, row.frame_id, body.name),
                    *(body.verdict, body.verdict_for, body.reason),
                    *(*(matrix[:3, 3] / MM_PER_M), x, y, z, w),
                    *(
                        body.translation_mm,
                        body.rotation_deg,
                        *(getattr(body, name) for name in _BOUNDS),
                    ),
                    *(getattr(body.error, name, '') for name in _ERRORS),
                ]
            )
    return buffer.getvalue()


def tum_text(rows: Iterable[ImageRow]) -> str:
    """Return the verified poses, patient in imager: seconds x y z (m) qx qy qz qw."""
    lines = ['# stamp x y z qx qy qz qw: patient (CT, LPS) in the imager, m']
    for row in rows:
        if row.is_verified and row.camera_from_ct is not None:
            seconds, rest = divmod(row.stamp_ns, NANOSECONDS)
            figures = ' '.join(f'{value:.9f}' for value in _pose(row))
            lines.append(f'{seconds}.{rest:09d} {figures}')
    return '\n'.join(lines) + '\n'


@dataclass(frozen=True)
class StampedPoses:
    """Poses over time, camera_from_ct or in another frame (mm)."""

    stamps_ns: tuple[int, ...]
    matrices: tuple[Matrix, ...]
    frames: tuple[str, ...]
    """Frame of each; '' is the imager's."""

    def at(self, stamp_ns: int, tolerance_ns: int) -> tuple[Matrix, str] | None:
        """Return the pose that is closest in time and its frame, None if none is close."""
        index = bisect.bisect_left(self.stamps_ns, stamp_ns)
        near = [i for i in (index - 1, index) if 0 <= i < len(self.stamps_ns)]
        if not near:
            return None
        best = min(near, key=lambda i: abs(self.stamps_ns[i] - stamp_ns))
        if abs(self.stamps_ns[best] - stamp_ns) > tolerance_ns:
            return None
        return self.matrices[best], self.frames[best]


def read_tum(path: Path) -> StampedPoses:
    """Read poses of the patient in the imager.

    Raises:
        PoseError: POSE_INVALID if the file cannot be read or is something else.
    """
    try:
        lines = path.read_text(encoding='utf-8').splitlines()
        entries = sorted(
            (_tum_entry(line) for line in lines if line.strip() and not line.startswith('#')),
            key=lambda entry: entry[0],
        )
    except OSError as error:
        raise _invalid(path, error.strerror or 'cannot be read') from None
    except (ValueError, InvalidOperation):
        raise _invalid(path, 'a line is not: seconds x y z qx qy qz qw') from None
    if not entries:
        raise _invalid(path, 'it holds no pose')
    stamps, matrices = zip(*entries, strict=True)
    return StampedPoses(tuple(stamps), tuple(matrices), ('',) * len(stamps))


def _tum_entry(line: str) -> tuple[int, Matrix]:
    stamp, *rest = line.split()
    x, y, z, qx, qy, qz, qw = map(float, rest)
    quaternion = np.array([qw, qx, qy, qz])
    if not np.isfinite([x, y, z, *quaternion]).all() or abs(np.linalg.norm(quaternion) - 1) > 1e-3:
        raise ValueError('no pose')
    matrix = np.eye(4)
    matrix[:3, :3] = quat2mat(quaternion)
    matrix[:3, 3] = np.array([x, y, z]) * MM_PER_M
    return int(Decimal(stamp) * NANOSECONDS), matrix


def _csv_row(row: ImageRow) -> list[object]:
    errors = [getattr(row.error, name) if row.error else math.nan for name in _ERRORS]
    start = row.start_error.mtre_mm if row.start_error else math.nan
    bounds = (getattr(row, name) for name in _BOUNDS)
    figures = (row.similarity_before, row.similarity_after, *bounds, row.runner_up_mm)
    return [
        *(row.number, row.stamp_ns, row.frame_id, row.verdict, row.verdict_for, row.reason),
        *map(_text, _pose(row)),
        *map(_text, figures),
        *(row.iterations, row.method),
        *map(_text, (start, *errors)),
    ]


def _pose(row: ImageRow) -> tuple[float, ...]:
    if row.camera_from_ct is None:
        return (math.nan,) * 7
    matrix = np.array(row.camera_from_ct)
    w, x, y, z = mat2quat(matrix[:3, :3]).tolist()
    return (*(matrix[:3, 3] / MM_PER_M).tolist(), x, y, z, w)


def _text(value: float) -> str:
    return '' if math.isnan(value) else f'{value:.9g}'


def _invalid(path: Path, reason: str) -> PoseError:
    return PoseError(ErrorCode.POSE_INVALID, f'{path.name}: {reason}')
