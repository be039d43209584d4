"""An X-ray as it was read: pixels, and what is known about how they were made."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float32, Float64
from torch import Tensor

from sph_reg_ros.errors import CameraError, ErrorCode, ImageError
from sph_reg_ros.geometry import Camera
from sph_reg_ros.imaging.xray.intensity import IntensityModel


@dataclass(frozen=True)
class XRay:
    """One X-ray.

    Attributes:
        pixels: raw counts or display values [H, W], as stored; `intensity` says which.
        mask: pixels [H, W] that the file does not declare padded or shuttered.
        camera: intrinsics of the stored image; None if the file has no geometry.
        camera_from_ct: nominal pose [4, 4] (mm) from the C-arm's angles, with the isocentre at the
            LPS origin; None if unknown. Only a start: patient and isocentre are not in the file.
        patient_hash: first 16 hex digits of the SHA-256 of the patient ID; '' if unknown.
        intensity: what the file says the pixels are; a suggestion.
        warnings: what had to be assumed. Never names the patient.
    """

    pixels: Float32[Tensor, 'H W']
    mask: Bool[Tensor, 'H W']
    camera: Camera | None = None
    camera_from_ct: Float64[Tensor, '4 4'] | None = None
    patient_hash: str = ''
    intensity: IntensityModel = field(default_factory=IntensityModel)
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check that the parts belong together; raises ImageError or CameraError."""
        shape = tuple(self.pixels.shape)
        if len(shape) != 2 or 0 in shape:
            raise ImageError(ErrorCode.IMAGE_LAYOUT, f'an X-ray is [H, W], this one is {shape}')
        if tuple(self.mask.shape) != shape or self.mask.dtype != torch.bool:
            raise ImageError(
                ErrorCode.IMAGE_LAYOUT, f'the mask must be bool {shape}, not {self.mask.shape}'
            )
        if self.camera is not None and self.camera.size != shape:
            raise CameraError(
                ErrorCode.CAMERA_IMAGE_MISMATCH,
                f'the image is {shape}, its camera {self.camera.size}: crop or rescale the camera',
            )


def frame_used(frame: int, frames: int, name: str = 'frame') -> tuple[str, ...]:
    """Return what to say of one frame of several; () if there is one only."""
    return (f'{name} {frame} of 0 to {frames - 1} is used',) if frames > 1 else ()
