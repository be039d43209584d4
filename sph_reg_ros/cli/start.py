"""Where a registration from files starts."""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.cli.pose_file import read_pose
from sph_reg_ros.cli.xray_views import XRayFile
from sph_reg_ros.errors import ErrorCode, PoseError
from sph_reg_ros.geometry import se3
from sph_reg_ros.geometry.carm import camera_from_ct_for_angles
from sph_reg_ros.imaging.attenuation import AttenuationVolume

ADVICE = (
    'no start: give --initial FILE, or --angles PRIMARY SECONDARY with --sod MM; '
    'networks would need none (--weights, sph-reg train)'
)


@dataclass(frozen=True)
class StartOptions:
    """Where to start: a pose file, or C-arm angles (degrees) about an isocentre (LPS mm)."""

    pose_path: Path | None = None
    angles_deg: tuple[float, float] | None = None
    sod_mm: float | None = None
    isocentre_lps_mm: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        """Check that one of both was given at most; raises PoseError."""
        others = (self.angles_deg, self.sod_mm, self.isocentre_lps_mm)
        if self.pose_path is not None and any(option is not None for option in others):
            raise PoseError(
                ErrorCode.POSE_INVALID,
                'give --initial FILE, or --angles, --sod and --isocentre, not both',
            )

    def camera_from_ct(
        self, xrays: tuple[XRayFile, ...], volume: AttenuationVolume
    ) -> Float64[Tensor, '4 4'] | None:
        """Return the pose in the first camera: the file's, the angles', or the X-ray's own.

        None if there is none of them.

        Raises:
            PoseError: the angles lack their distance, or the file's is no pose.
        """
        first = xrays[0]
        if self.pose_path is not None:
            return read_pose(self.pose_path, first.fixed_from_camera, len(xrays))
        isocentre = volume.centre
        if self.isocentre_lps_mm is not None:
            isocentre = torch.tensor(self.isocentre_lps_mm, dtype=torch.float64)
        if self.angles_deg is not None and self.sod_mm is not None:
            primary, secondary = map(math.radians, self.angles_deg)
            return camera_from_ct_for_angles(primary, secondary, self.sod_mm, isocentre)
        nominal = first.xray.camera_from_ct
        if self.angles_deg is not None or self.sod_mm is not None:
            raise PoseError(
                ErrorCode.INITIAL_POSE_MISSING, '--angles and --sod are needed together'
            )
        if nominal is None:
            return None
        # The file's pose has the isocentre at the origin of LPS.
        return nominal @ se3.from_parts(torch.eye(3, dtype=torch.float64), -isocentre)
