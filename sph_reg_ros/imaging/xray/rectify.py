"""Images freed of the distortion of a lens or an image intensifier.

The rectified image keeps size and K of the distorted one, with zero distortion: the middle stays as
sharp and where it is. What a barrel-shaped distortion moves across the border is cut off, what a
pincushion leaves without data is masked.
"""

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64
from torch import Tensor

from sph_reg_ros.imaging.xray.lens import Lens, invalid_lens

_REMEMBERED = 4
# Of a mask between 0 and 1: all pixels that a value is interpolated from are usable.
_WHOLLY = 0.999
_LEAST_FIELD = 0.5

_Maps = tuple[
    Float32[np.ndarray, 'H W'],
    Float32[np.ndarray, 'H W'],
    Bool[np.ndarray, 'H W'],
]


def rectified(
    image: Float32[Tensor, 'H W'],
    mask: Bool[Tensor, 'H W'],
    K: Float64[Tensor, '3 3'],
    lens: Lens,
) -> tuple[Float32[Tensor, 'H W'], Bool[Tensor, 'H W']]:
    """Return image and mask as a camera with the same K and without the lens would see them.

    Args:
        image: distorted, finite.
        mask: its usable pixels; a pixel of the result is usable if all that it comes from are.
        K: intrinsics (pixels) of the distorted image.
        lens: its distortion.

    Raises:
        CameraError: CAMERA_INVALID if the coefficients fold the image, or move most of it out.
    """
    cv2 = _cv2()
    size = (int(image.shape[0]), int(image.shape[1]))
    u, v, inside = _maps(lens, tuple(K.flatten().tolist()), size)
    straight, usable = (
        cv2.remap(values, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for values in (image.numpy(), mask.float().numpy())
    )
    return torch.from_numpy(straight), torch.from_numpy(inside & (usable > _WHOLLY))


def rectified_points(
    pixels: Float64[np.ndarray, 'N 2'], K: Float64[Tensor, '3 3'], lens: Lens
) -> Float64[np.ndarray, 'N 2']:
    """Return where pixels (column, row) of a distorted image lie in the rectified one."""
    cv2 = _cv2()
    camera = K.numpy()
    undistort = cv2.fisheye if lens.model == 'equidistant' else cv2
    ones = np.ones((len(pixels), 1))
    # At depth 1, for the same reason as the map.
    distorted = (np.hstack([pixels, ones]) @ np.linalg.inv(camera).T)[:, None, :2]
    straight = undistort.undistortPoints(
        np.ascontiguousarray(distorted), np.eye(3), np.array(lens.coefficients)
    )
    return (np.hstack([straight[:, 0], ones]) @ camera.T)[:, :2]


@lru_cache(maxsize=_REMEMBERED)
def _maps(lens: Lens, K: tuple[float, ...], size: tuple[int, int]) -> _Maps:
    """Return column and row in the distorted image of each pixel, and whether they lie in it."""
    camera = np.array(K).reshape(3, 3)
    u, v = _distorted_pixels(lens, camera, size)
    inside = (u >= 0) & (u <= size[1] - 1) & (v >= 0) & (v <= size[0] - 1)
    du_dv, du_du = np.gradient(u)
    dv_dv, dv_du = np.gradient(v)
    if not (du_du * dv_dv - du_dv * dv_du > 0).all():
        raise invalid_lens(
            f'the distortion {lens.model} {list(lens.coefficients)} folds the image: calibrate the '
            'imager again'
        )
    if inside.mean() < _LEAST_FIELD:
        raise invalid_lens(
            f'the distortion {lens.model} {list(lens.coefficients)} leaves '
            f'{100 * inside.mean():.0f} % of the image: calibrate the imager again'
        )
    return u.astype(np.float32), v.astype(np.float32), inside


def _distorted_pixels(
    lens: Lens, K: Float64[np.ndarray, '3 3'], size: tuple[int, int]
) -> tuple[Float64[np.ndarray, 'H W'], Float64[np.ndarray, 'H W']]:
    cv2 = _cv2()
    undistort = cv2.fisheye if lens.model == 'equidistant' else cv2
    # At depth 1, as OpenCV takes no skew and no negative focal length on the distorted side.
    x, y = undistort.initUndistortRectifyMap(
        np.eye(3), np.array(lens.coefficients), np.eye(3), K, size[::-1], cv2.CV_32FC1
    )
    x, y = x.astype(np.float64), y.astype(np.float64)
    return K[0, 0] * x + K[0, 1] * y + K[0, 2], K[1, 0] * x + K[1, 1] * y + K[1, 2]


def _cv2():  # type: ignore[no-untyped-def]
    """Return OpenCV, imported lazily: most images have no distortion."""
    import cv2

    return cv2
