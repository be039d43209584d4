"""Protocols: distributions of initial poses about the true one."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.errors import ErrorCode, PoseError
from sph_reg_ros.geometry import Camera, se3

_MOST_DRAWS = 1000
InView = Callable[[Float64[Tensor, '4 4']], bool]


@dataclass(frozen=True)
class Protocol:
    """A distribution of perturbations: independent rotation vector and shift, in camera axes.

    Attributes:
        name: of the protocol.
        distribution: 'uniform' in +-the widths below, or 'normal' with them as standard deviations.
        rotation_deg: of each component of the rotation vector, about the centre of the CT.
        in_plane_mm: of the shift along the image's columns and rows each.
        depth_mm: of the shift along the optical axis.
        told: whether a registration is given the start; if not, it is for the figures only.
    """

    name: str
    distribution: Literal['uniform', 'normal']
    rotation_deg: float
    in_plane_mm: float
    depth_mm: float
    told: bool = True

    def twist(self, generator: np.random.Generator) -> Float64[Tensor, '6']:
        """Draw a perturbation (omega in rad, v in mm)."""
        if self.distribution == 'uniform':
            return torch.from_numpy(self._widths * generator.uniform(-1.0, 1.0, 6))
        return torch.from_numpy(self._widths * generator.normal(size=6))

    @property
    def standard_deviations(self) -> tuple[float, ...]:
        """Return those of the six components (omega in rad, v in mm)."""
        share = 3.0**-0.5 if self.distribution == 'uniform' else 1.0
        return tuple((share * self._widths).tolist())

    @property
    def _widths(self) -> Float64[np.ndarray, '6']:
        rotation_rad = math.radians(self.rotation_deg)
        return np.array([rotation_rad] * 3 + [self.in_plane_mm] * 2 + [self.depth_mm])


NEAR = Protocol('near', 'uniform', 10.0, 10.0, 20.0)
FAR = Protocol('far', 'normal', 20.0, 30.0, 60.0)
"""As the authors of cdreg perturb."""
NO_GUESS = Protocol('no_guess', 'uniform', 180.0, 0.0, 0.0, told=False)
"""No initial pose; X-rays from everywhere (`viewpoints.AllAround`)."""
PROTOCOLS = {protocol.name: protocol for protocol in (NEAR, FAR, NO_GUESS)}


@dataclass(frozen=True)
class Start:
    """An initial pose.

    Attributes:
        camera_from_ct: initial pose (mm).
        redrawn: poses that were drawn before it and thrown away, as nothing was in view.
    """

    camera_from_ct: Float64[Tensor, '4 4']
    redrawn: int


def draw_start(
    protocol: Protocol,
    truth: Float64[Tensor, '4 4'],
    centre_mm: Float64[Tensor, '3'],
    in_view: InView,
    generator: np.random.Generator,
) -> Start:
    """Perturb a true pose until the CT is in view at all.

    Args:
        protocol: how far.
        truth: true camera_from_ct (mm).
        centre_mm: point of the CT that rotations turn about.
        in_view: tells whether anything of the CT is in view at a pose.
        generator: source of randomness.

    Raises:
        PoseError: nothing came into view however often it was tried.
    """
    for redrawn in range(_MOST_DRAWS):
        start = perturbed(truth, protocol.twist(generator), centre_mm)
        if in_view(start):
            return Start(start, redrawn)
    raise PoseError(ErrorCode.POSE_INVALID, 'the CT is not in view about its true pose either')


def perturbed(
    truth: Float64[Tensor, '4 4'], twist: Float64[Tensor, '6'], centre_mm: Float64[Tensor, '3']
) -> Float64[Tensor, '4 4']:
    """Return a pose turned about a point of the CT, then shifted, both in camera axes.

    One after the other, so that the point moves by exactly the shift that was asked for.

    Args:
        truth: camera_from_ct (mm).
        twist: (omega in rad, v in mm).
        centre_mm: the point, CT coordinates.
    """
    nothing = torch.zeros(3, dtype=torch.float64)
    turned = se3.apply_twist(torch.cat([twist[:3], nothing]), truth, centre_mm)
    return se3.apply_twist(torch.cat([nothing, twist[3:]]), turned, centre_mm)


def any_in_view(
    points_mm: Float64[Tensor, 'N 3'], camera_from_ct: Float64[Tensor, '4 4'], camera: Camera
) -> bool:
    """Return whether a point of the body (CT coordinates) lies before the camera, in its image."""
    in_camera = se3.transform_points(camera_from_ct, points_mm)
    in_camera = in_camera[in_camera[:, 2] > 1.0]
    u, v = camera.project(in_camera).unbind(-1)
    inside = (u > -0.5) & (u < camera.width - 0.5) & (v > -0.5) & (v < camera.height - 0.5)
    return bool(inside.any())
