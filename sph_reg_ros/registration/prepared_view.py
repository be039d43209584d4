"""From an X-ray's pixels to a view, and to that of its negative."""

from dataclasses import dataclass, replace

from jaxtyping import Bool, Float32, Float64
from torch import Tensor

from sph_reg_ros.errors import CameraError, ErrorCode
from sph_reg_ros.geometry import Camera
from sph_reg_ros.imaging.xray.intensity import IntensityModel, negative
from sph_reg_ros.imaging.xray.lens import Lens
from sph_reg_ros.imaging.xray.prepare import prepare_xray
from sph_reg_ros.imaging.xray.xray_image import XRay
from sph_reg_ros.registration.view import View


@dataclass(frozen=True)
class ViewMaker:
    """What makes views of X-rays; see `imaging.xray.prepare.prepare_xray`.

    Attributes:
        model: what the pixels are.
        polarity_given: the user has said whether air is bright.
        mask_saturation: leave clipped pixels out.
        mask_collimator: leave the collimator's shadow out.
    """

    model: IntensityModel
    polarity_given: bool = False
    mask_saturation: bool = True
    mask_collimator: bool = True

    def __call__(
        self,
        pixels: Float32[Tensor, 'H W'],
        camera: Camera,
        *,
        mask: Bool[Tensor, 'H W'] | None = None,
        lens: Lens | None = None,
        fixed_from_camera: Float64[Tensor, '4 4'] | None = None,
    ) -> View:
        """Return the view; its negative is made on demand.

        Args:
            pixels: image [H, W] as stored.
            camera: of the image.
            mask: pixels known to be usable.
            lens: distortion of the image, to be rectified.
            fixed_from_camera: see View.

        Raises:
            ImageError: NaN or infinite pixels, or too little left to compare.
            CameraError: the distortion makes no sense.
        """

        def view(of: tuple[Float32[Tensor, 'H W'], IntensityModel]) -> View:
            integrals, usable = prepare_xray(
                *of,
                mask_saturation=self.mask_saturation,
                mask_collimator=self.mask_collimator,
                mask=mask,
                lens=None if lens is None else (lens, camera.K),
            )
            return View(
                integrals, camera, None if bool(usable.all()) else usable, fixed_from_camera
            )

        return replace(
            view((pixels, self.model)),
            negative=lambda: view(negative(pixels, self.model)),
            polarity_given=self.polarity_given,
        )


def view_of(xray: XRay, fixed_from_camera: Float64[Tensor, '4 4'] | None = None) -> View:
    """Return what a registration compares of an X-ray from a file.

    Args:
        xray: with its camera (`load_xray`).
        fixed_from_camera: see View.

    Raises:
        CameraError: the X-ray has no camera.
        ImageError: NaN or infinite pixels, or too little left to compare.
    """
    if xray.camera is None:
        raise CameraError(
            ErrorCode.CAMERA_MISSING, 'the X-ray has no camera: give load_xray one, or geometry'
        )
    make_view = ViewMaker(xray.intensity)
    return make_view(xray.pixels, xray.camera, mask=xray.mask, fixed_from_camera=fixed_from_camera)
