"""A localizer made ready to be compared with renderings of its CT."""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float32, Float64
from torch import Tensor
from torch.nn.functional import max_pool2d, max_pool3d, pad

from sph_reg_ros.errors import ErrorCode, SolverError
from sph_reg_ros.geometry import Camera, se3
from sph_reg_ros.imaging.attenuation import AttenuationVolume, water_attenuation
from sph_reg_ros.imaging.localizer import Localizer
from sph_reg_ros.registration.config import LEAST_CHECKED_PX
from sph_reg_ros.registration.view import View
from sph_reg_ros.rendering.render import render

END_MM = 20.0
"""Rows nearer to where the CT ends are not compared: a start that is off would show its end, and
that end would give the scanner's pose away."""
MOST_AT_ENDS = 1 / 6
"""No more of the CT's length than that is lost at either end."""
AROUND_MM = 20.0
"""What is compared around the silhouette of the body: its outline shows, the table mostly not."""
_BODY_MM, _DENSE, _CHORD_MM = 4.0, 0.5, 8.0
"""The body is what is half as dense as water after an opening by as many millimetres and thick
along the beam."""
_BANDS = 32
"""Of spatial frequency up to half a cycle a pixel, in which localizers are sharper than the CT."""


@dataclass(frozen=True)
class LocalizerView:
    """The part of a localizer that is compared.

    Attributes:
        view: as an X-ray that can be registered.
        stated: the scanner's pose of the CT [4, 4] (mm) in the view's camera.
        whole_camera: the whole localizer, in the same frame as the view's camera.
    """

    view: View
    stated: Float64[Tensor, '4 4']
    whole_camera: Camera

    def with_rows_apart(self, factor: float) -> 'LocalizerView':
        """Return it with rows that lie farther apart than stated, about the part's middle."""
        view = replace(self.view, camera=_with_rows_apart(self.view.camera, factor))
        return LocalizerView(view, self.stated, _with_rows_apart(self.whole_camera, factor))


def compared_part(volume: AttenuationVolume, localizer: Localizer) -> LocalizerView:
    """Return the part of a localizer that the CT covers.

    The camera's origin slides along its y axis, which a line scan does not notice, to the middle of
    that part. Scanners sharpen localizers strongly; that is undone by the ratio of the spectra of
    the rendering at the scanner's pose and of the localizer, which does not depend on the pose but
    for its content. Scale and offset are left to the similarity.

    Raises:
        SolverError: NO_OVERLAP if too little of the CT shows.
    """
    top, bottom, left, right = _part(volume, localizer)
    camera = localizer.camera.crop(top, left, bottom - top, right - left)
    middle = (camera.height - 1) / 2
    slide = (middle - float(camera.K[1, 2])) * camera.scan_depth_mm / float(camera.K[1, 1])
    camera.K[1, 2] = middle
    pose = localizer.camera_from_ct.clone()
    pose[1, 3] -= slide
    part = (slice(top, bottom), slice(left, right))
    rendering = render(
        volume, pose, camera.K, camera.size, scan_depth_mm=camera.scan_depth_mm
    ).cpu()
    image = localizer.line_integrals[part]
    body = _body(volume)
    chords = render(body, pose, camera.K, camera.size, scan_depth_mm=camera.scan_depth_mm).cpu()
    reach = max(1, round(AROUND_MM * camera.focal_length / camera.scan_depth_mm))
    near = _widened(chords > _CHORD_MM, reach)
    mask = near & localizer.usable[part]
    view = View(as_sharp_as(image, rendering.float()), camera, mask)
    return LocalizerView(view, pose, camera.crop(-top, -left, *localizer.camera.size))


def _with_rows_apart(camera: Camera, factor: float) -> Camera:
    K = camera.K.clone()
    K[1, 1] /= factor
    return replace(camera, K=K)


def as_sharp_as(
    image: Float32[Tensor, 'H W'], rendering: Float32[Tensor, 'H W']
) -> Float32[Tensor, 'H W']:
    """Return an image filtered to the radial spectrum of another one."""
    gain = _radial_spectrum(rendering) / _radial_spectrum(image).clamp(min=1e-12)
    border = min(32, *(side - 1 for side in image.shape))
    padded = pad(image[None, None], (border,) * 4, mode='reflect')[0, 0]
    radius = _frequency(padded.shape) * _BANDS
    low = radius.floor().long().clamp(max=_BANDS - 1)
    share = (radius - low).clamp(max=1)
    filtered = gain[low] * (1 - share) + gain[low + 1] * share
    sharp = torch.fft.ifft2(torch.fft.fft2(padded) * filtered).real
    height, width = image.shape
    return sharp[border : border + height, border : border + width].contiguous()


def _part(volume: AttenuationVolume, localizer: Localizer) -> tuple[int, int, int, int]:
    """Return top, bottom, left and right of where the whole CT shows, its ends cut off."""
    camera = localizer.camera
    corners = se3.transform_points(localizer.camera_from_ct, volume.corners)
    pixels = camera.project(corners)
    (left, first), (right, last) = pixels.amin(0).tolist(), pixels.amax(0).tolist()
    rows_per_mm = float(camera.K[1, 1].abs()) / camera.scan_depth_mm
    margin = min(END_MM * rows_per_mm, (last - first) * MOST_AT_ENDS)
    top, bottom = max(0, math.ceil(first + margin)), min(camera.height, int(last - margin) + 1)
    begin, end = max(0, math.ceil(left)), min(camera.width, int(right) + 1)
    if bottom - top < LEAST_CHECKED_PX or end - begin < LEAST_CHECKED_PX:
        raise SolverError(
            ErrorCode.NO_OVERLAP,
            f'{localizer.name}: it has {max(0, bottom - top)} rows and {max(0, end - begin)} '
            f'columns in common with the CT, {LEAST_CHECKED_PX} are needed',
        )
    return top, bottom, begin, end


def _body(volume: AttenuationVolume) -> AttenuationVolume:
    """Return 1 where the CT holds the body, 0 in thin shells such as that of the table."""
    coarse = volume.coarsened(_BODY_MM)
    dense = (coarse.mu > _DENSE * water_attenuation(60.0)).float()
    # The border of the CT is no surface of the body.
    padded = pad(dense[None, None], (1,) * 6, value=1.0)
    opened = max_pool3d(-max_pool3d(-padded, 3, 1, 1), 3, 1, 1)
    return AttenuationVolume(opened[0, 0, 1:-1, 1:-1, 1:-1].contiguous(), coarse.ct_from_index)


def _widened(mask: Bool[Tensor, 'H W'], reach: int) -> Bool[Tensor, 'H W']:
    return max_pool2d(mask.float()[None, None], 2 * reach + 1, 1, reach)[0, 0] > 0


def _radial_spectrum(image: Float32[Tensor, 'H W']) -> Float32[Tensor, 'n']:
    """Return the rms amplitude in rings of spatial frequency."""
    window = torch.outer(*(torch.hann_window(side, periodic=False) for side in image.shape))
    power = torch.fft.fft2((image - image.mean()) * window).abs().square().flatten()
    ring = (_frequency(image.shape) * _BANDS).round().long().clamp(max=_BANDS).flatten()
    total = torch.zeros(_BANDS + 1).index_add_(0, ring, power)
    count = torch.zeros(_BANDS + 1).index_add_(0, ring, torch.ones_like(power))
    return (total / count.clamp(min=1)).sqrt()


def _frequency(shape: tuple[int, ...]) -> Float32[Tensor, 'H W']:
    """Return the spatial frequency of each coefficient in units of half a cycle a pixel."""
    v, u = (torch.fft.fftfreq(side) for side in shape)
    return 2 * torch.hypot(v[:, None], u[None])
