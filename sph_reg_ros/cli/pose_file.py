"""The file that says where to start."""

import json
from pathlib import Path

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.errors import ErrorCode, PoseError
from sph_reg_ros.geometry import se3

KEY = 'camera_from_ct'


def read_pose(path: Path) -> Float64[Tensor, '4 4']:
    """Return `camera_from_ct` (4 x 4, mm, CT in LPS) of a JSON file; raises PoseError."""
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        pose = torch.tensor(content[KEY], dtype=torch.float64)
    except OSError as error:
        raise PoseError(
            ErrorCode.INITIAL_POSE_MISSING, f'the initial pose cannot be read: {error.strerror}'
        ) from None
    except (ValueError, TypeError, KeyError, RecursionError):
        raise PoseError(
            ErrorCode.POSE_INVALID,
            f'the initial pose must be JSON with "{KEY}": 4 rows of 4 numbers (mm, CT in LPS)',
        ) from None
    se3.require_rigid(pose, KEY)
    return pose
