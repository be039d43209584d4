"""Views of the frames of a stream, whose collimator is searched for only when asked to."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float32, Float64
from torch import Tensor
from torch.nn import functional

from sph_reg_ros.geometry import Camera
from sph_reg_ros.imaging.xray.intensity import counts
from sph_reg_ros.imaging.xray.lens import Lens
from sph_reg_ros.imaging.xray.masks import collimator_mask, saturation_mask
from sph_reg_ros.registration.prepared_view import ViewMaker
from sph_reg_ros.registration.view import View


@dataclass(frozen=True)
class Frame:
    """One X-ray of a stream, as it came in.

    Attributes:
        pixels: image [H, W] as stored.
        camera: of the image.
        time_s: of its exposure, on any clock.
        lens: distortion of the image, to be rectified.
        fixed_from_camera: pose [4, 4] (mm) of the camera in a frame that stands still; None: not
            known.
        initial_camera_from_ct: rough pose [4, 4] (mm); used where no frame before tells one.
    """

    pixels: Float32[Tensor, 'H W']
    camera: Camera
    time_s: float
    lens: Lens | None = None
    fixed_from_camera: Float64[Tensor, '4 4'] | None = None
    initial_camera_from_ct: Float64[Tensor, '4 4'] | None = None


class FrameViews:
    """Makes views of frames.

    To find the exposed field takes several times as long as all else that is done to a frame, and
    it hardly ever changes: it is kept. Where the blades did move, the frame looks less like the CT,
    and whoever finds that asks for it to be searched for again.
    """

    def __init__(self, make_view: ViewMaker) -> None:
        """Know no field yet."""
        self._make_view = replace(make_view, mask_collimator=False)
        self._masks_collimator = make_view.mask_collimator
        self._field: Bool[Tensor, 'H W'] | None = None

    def forget_field(self) -> None:
        """Search for the exposed field in the next frame."""
        self._field = None

    def whole(self, frame: Frame) -> View:
        """Return the view at the resolution of the frame.

        Raises:
            ImageError: NaN or infinite pixels, or too little left to compare.
            CameraError: the distortion makes no sense.
        """
        return self._make_view(
            frame.pixels,
            frame.camera,
            mask=self._exposed(frame),
            lens=frame.lens,
            fixed_from_camera=frame.fixed_from_camera,
        )

    def small(self, frame: Frame, height: int) -> View:
        """Return the view at about a height, as a detector that bins its pixels would take it.

        Raises as `whole` does. What a binned detector would not do right (to rectify, to turn a
        negative over) is done at full resolution.
        """
        factor, model = frame.camera.height // height, self._make_view.model
        counting = model.kind == 'beer_lambert' and model.bright_air
        if factor < 2 or frame.lens is not None or not counting:
            return self.whole(frame)
        size = (frame.camera.height // factor, frame.camera.width // factor)
        usable = self._exposed(frame)
        if self._make_view.mask_saturation:
            usable = usable & saturation_mask(frame.pixels)
        weight = _mean_over_blocks(usable.float(), size)
        binned = _mean_over_blocks(frame.pixels * usable, size) / weight.clamp(min=1e-6)
        # The open beam is but an offset of the line integrals, which no similarity sees.
        model = replace(model, i0=model.i0 or max(1.0, float(binned.max())))
        return replace(self._make_view, model=model, mask_saturation=False)(
            binned,
            frame.camera.rescale(*size),
            mask=weight > 0.5,
            fixed_from_camera=frame.fixed_from_camera,
        )

    def _exposed(self, frame: Frame) -> Bool[Tensor, 'H W']:
        if self._field is None or self._field.shape != frame.pixels.shape:
            self._field = torch.ones_like(frame.pixels, dtype=torch.bool)
            if self._masks_collimator:
                self._field = collimator_mask(counts(frame.pixels, self._make_view.model))
        return self._field


def _mean_over_blocks(image: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(image[None, None], size, mode='area')[0, 0]
