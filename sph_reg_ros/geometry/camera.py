"""Camera of an X-ray imager: a pinhole, or a line scan."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.errors import CameraError, ErrorCode


@dataclass(frozen=True)
class Camera:
    """Intrinsics and image size, in the ROS optical frame.

    The camera frame has x along columns, y along rows and z from the source to the detector; pixel
    centres lie at integers. A stored image may be rotated or mirrored against the detector: that
    changes K only (K' = A K with the pixel map A), so K may have negative or off-diagonal entries
    while the camera frame, and with it every pose, stays.

    In a line scan, such as a CT scanner's localizer, the source moves along the camera's y axis
    with the image: the projection is a fan along x and parallel along y, (x / z, y / scan_depth_mm,
    1) in place of (x, y, z) / z. A linear pushbroom camera; K is that of the pinhole with the same
    scale at the depth scan_depth_mm.

    Attributes:
        K: intrinsics in pixels [3, 3], float64; maps camera coordinates to (u, v, 1) up to scale.
        height: rows of the image.
        width: columns of the image.
        scan_depth_mm: 0 for a pinhole; of a line scan, the depth at which K holds for y.
    """

    K: Float64[Tensor, '3 3']
    height: int
    width: int
    scan_depth_mm: float = 0.0

    def __post_init__(self) -> None:
        """Check size and intrinsics; raises CameraError."""
        object.__setattr__(self, 'K', torch.as_tensor(self.K, dtype=torch.float64))
        if self.height < 1 or self.width < 1:
            raise CameraError(
                ErrorCode.CAMERA_INVALID, f'image size {self.height} x {self.width} is not positive'
            )
        if self.K.shape != (3, 3) or not torch.isfinite(self.K).all():
            raise CameraError(ErrorCode.CAMERA_INVALID, 'K must be a finite 3 x 3 matrix')
        determinant = float(torch.det(self.K[:2, :2]))
        if abs(determinant) < 1e-9:
            raise CameraError(
                ErrorCode.CAMERA_UNCALIBRATED,
                f'K cannot be inverted (determinant {abs(determinant):.2g}, focal lengths '
                f'{float(self.K[0, 0]):g} and {float(self.K[1, 1]):g} px): calibrate the imager or '
                'give its geometry',
            )
        if not torch.equal(self.K[2], torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)):
            raise CameraError(ErrorCode.CAMERA_INVALID, 'the last row of K must be 0 0 1')
        if not 0 <= self.scan_depth_mm < math.inf:
            raise CameraError(ErrorCode.CAMERA_INVALID, 'scan_depth_mm must be 0 or a distance')

    @classmethod
    def from_geometry(
        cls,
        sdd_mm: float,
        pixel_pitch_mm: tuple[float, float],
        size: tuple[int, int],
        principal_point: tuple[float, float] | None = None,
    ) -> 'Camera':
        """Build a camera from an imager's data sheet.

        Args:
            sdd_mm: distance from the source to the detector.
            pixel_pitch_mm: spacing of rows and of columns on the detector (vertical first).
            size: (height, width) in pixels.
            principal_point: (column, row) that the central ray hits; the image's centre if None.
        """
        height, width = size
        row_mm, column_mm = pixel_pitch_mm
        if not (sdd_mm > 0 and row_mm > 0 and column_mm > 0):
            raise CameraError(ErrorCode.CAMERA_INVALID, 'distance and pixel pitch must be positive')
        cx, cy = principal_point or ((width - 1) / 2, (height - 1) / 2)
        K = [[sdd_mm / column_mm, 0.0, cx], [0.0, sdd_mm / row_mm, cy], [0.0, 0.0, 1.0]]
        return cls(torch.tensor(K, dtype=torch.float64), height, width)

    @property
    def size(self) -> tuple[int, int]:
        """Return (height, width)."""
        return self.height, self.width

    @property
    def focal_length(self) -> float:
        """Return the geometric mean focal length in pixels, whatever the image's orientation."""
        return float(torch.det(self.K[:2, :2]).abs().sqrt())

    def crop(self, top: int, left: int, height: int, width: int) -> 'Camera':
        """Return the camera of `image[top:top + height, left:left + width]`."""
        return self._after_pixel_map([[1, 0, -left], [0, 1, -top], [0, 0, 1]], height, width)

    def rescale(self, height: int, width: int) -> 'Camera':
        """Return the camera of the same field of view sampled on height x width pixels."""
        sx, sy = width / self.width, height / self.height
        # Pixel centres are integers, so the image's corner is (-0.5, -0.5) at every scale.
        return self._after_pixel_map(
            [[sx, 0, (sx - 1) / 2], [0, sy, (sy - 1) / 2], [0, 0, 1]], height, width
        )

    def flip(self, *, horizontal: bool = False, vertical: bool = False) -> 'Camera':
        """Return the camera of the mirrored image."""
        row_u = [-1, 0, self.width - 1] if horizontal else [1, 0, 0]
        row_v = [0, -1, self.height - 1] if vertical else [0, 1, 0]
        return self._after_pixel_map([row_u, row_v, [0, 0, 1]], self.height, self.width)

    def rotate90(self, turns: int = 1) -> 'Camera':
        """Return the camera of `torch.rot90(image, turns)` (counter-clockwise quarter turns)."""
        camera = self
        for _ in range(turns % 4):
            pixel_map = [[0, 1, 0], [-1, 0, camera.width - 1], [0, 0, 1]]
            camera = camera._after_pixel_map(pixel_map, camera.width, camera.height)
        return camera

    def project(self, points: Float64[Tensor, '*n 3']) -> Float64[Tensor, '*n 2']:
        """Project points in the camera frame (mm) to pixels (column, row)."""
        depth = points[..., 2:]
        ahead = points / depth
        if self.scan_depth_mm > 0:
            parallel = points[..., 1:2] / self.scan_depth_mm
            ahead = torch.cat([ahead[..., :1], parallel, ahead[..., 2:]], -1)
        return (ahead @ self.K.T)[..., :2]

    def _after_pixel_map(
        self, pixel_map: Sequence[Sequence[float]], height: int, width: int
    ) -> 'Camera':
        K = torch.tensor(pixel_map, dtype=torch.float64) @ self.K
        return Camera(K, height, width, self.scan_depth_mm)
