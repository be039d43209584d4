"""What a registration is asked."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float32, Float64
from torch import Tensor

from sph_reg_ros.errors import ErrorCode, ImageError, PoseError
from sph_reg_ros.geometry import Camera, se3
from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.plausible import SMALLEST_OFFSET_MM, require_possible
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.prior import PosePrior
from sph_reg_ros.registration.reasons import InputDoubt

if TYPE_CHECKING:
    from sph_reg_ros.registration.networks import Networks


@dataclass(frozen=True)
class View:
    """One X-ray, ready to be compared with a rendering.

    Attributes:
        line_integrals: image [H, W] of attenuation line integrals (dimensionless); scale and
            offset do not matter.
        camera: its intrinsics and size.
        mask: pixels [H, W] that may be used; all if None.
        fixed_from_camera: pose [4, 4] (mm) of this camera in a frame that all views share; needed
            only for several views.
        negative: makes the view of the same X-ray taken for a negative of what it is taken for
            here; None if it is not known how.
        polarity_given: the user has said how to take it: its negative is a doubt, not a choice.
    """

    line_integrals: Float32[Tensor, 'H W']
    camera: Camera
    mask: Bool[Tensor, 'H W'] | None = None
    fixed_from_camera: Float64[Tensor, '4 4'] | None = None
    negative: 'Callable[[], View] | None' = field(default=None, compare=False, repr=False)
    polarity_given: bool = False

    def __post_init__(self) -> None:
        """Check shapes and values; raises ImageError or PoseError."""
        shape = tuple(self.line_integrals.shape)
        if shape != self.camera.size:
            raise ImageError(
                ErrorCode.CAMERA_IMAGE_MISMATCH, f'image is {shape}, its camera {self.camera.size}'
            )
        if self.mask is not None and tuple(self.mask.shape) != shape:
            raise ImageError(
                ErrorCode.IMAGE_LAYOUT, f'mask is {tuple(self.mask.shape)}, image {shape}'
            )
        usable = self.line_integrals if self.mask is None else self.line_integrals[self.mask]
        if not torch.isfinite(self.line_integrals).all():
            raise ImageError(ErrorCode.IMAGE_CONTENT, 'the image has NaN or infinite pixels')
        if usable.numel() < 64 or float(usable.std()) <= 0:
            raise ImageError(ErrorCode.IMAGE_CONTENT, 'the image shows nothing: it is constant')
        if self.fixed_from_camera is not None:
            se3.require_rigid(self.fixed_from_camera, 'fixed_from_camera')
            _require_no_metres(self.fixed_from_camera)


@dataclass(frozen=True)
class RegistrationRequest:
    """A CT, the X-rays, and where to start.

    Attributes:
        volume: attenuation of the CT.
        views: at least one; several need `fixed_from_camera` each.
        initial_camera_from_ct: first guess [4, 4] (mm) for the first view; None: the networks find
            one.
        config: settings.
        prior: what is known of the first view's pose beside the X-rays; None: nothing.
        networks: trained on this CT (`networks.find_networks`); None: there are none.
        doubts: about CT and X-rays; they explain a pose that fails the checks.
    """

    volume: AttenuationVolume
    views: tuple[View, ...]
    initial_camera_from_ct: Float64[Tensor, '4 4'] | None
    config: RegistrationConfig = field(default_factory=RegistrationConfig)
    prior: PosePrior | None = None
    networks: 'Networks | None' = None
    doubts: tuple[InputDoubt, ...] = ()

    def __post_init__(self) -> None:
        """Check units, and that the views belong together; raises Image-, Camera- or PoseError."""
        if not self.views:
            raise ImageError(ErrorCode.IMAGE_CONTENT, 'a registration needs at least one view')
        if len(self.views) > 1 and any(v.fixed_from_camera is None for v in self.views):
            raise PoseError(
                ErrorCode.IMAGER_POSE_MISSING, 'several views need fixed_from_camera for each'
            )
        for view in self.views:
            require_possible(view.camera.K, view.camera.size)
        if self.initial_camera_from_ct is not None:
            se3.require_rigid(self.initial_camera_from_ct, 'initial_camera_from_ct')

    @property
    def start(self) -> Float64[Tensor, '4 4']:
        """Return the initial pose; raises PoseError INITIAL_POSE_MISSING if there is none."""
        if self.initial_camera_from_ct is None:
            raise PoseError(
                ErrorCode.INITIAL_POSE_MISSING,
                'no initial pose, and no networks that do without for this CT and this imager: '
                'give one, or train networks (sph-reg train)',
            )
        return self.initial_camera_from_ct.double()


def _require_no_metres(fixed_from_camera: Float64[Tensor, '4 4']) -> None:
    offset_mm = float(fixed_from_camera[:3, 3].norm())
    # Zero is the frame of this camera, but for rounding.
    if 0.01 < offset_mm < SMALLEST_OFFSET_MM:
        raise PoseError(
            ErrorCode.POSE_INVALID,
            f'fixed_from_camera puts the X-ray source {offset_mm:.3g} mm from the origin of the '
            'fixed frame: are these metres? It must be in mm',
        )
