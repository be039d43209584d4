"""Does the X-ray agree with the rendering everywhere, or only on the whole?"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float32, Float64
from torch import Tensor

from sph_reg_ros.errors import ErrorCode
from sph_reg_ros.geometry import Camera, se3
from sph_reg_ros.registration.gate.evidence import Evidence
from sph_reg_ros.registration.gate_limits import (
    MAX_DISPLACEMENT_MM,
    MIN_SHARE_OF_PATCHES,
)
from sph_reg_ros.registration.level import Level
from sph_reg_ros.registration.result import Check, Verdict
from sph_reg_ros.similarity.rows import on_host

PATCHES = 8
"""Along each side of the image."""
MIN_USABLE = 0.5
"""Share of a patch's pixels that the mask leaves."""
MIN_STRUCTURE = 1e-3
"""Variance of the rendering in a patch, as a share of the image's."""
MAX_SIGMA_PX = 0.2
"""A displacement that is less certain says nothing."""
_NOWHERE_MM = 1e3


@dataclass(frozen=True)
class PatchAgreement:
    """What the patches say, in the view where they say the worst.

    Attributes:
        displacement_mm: median size of the displacements that are certain, in mm at the CT's depth.
        share: of the patches with structure, those whose displacement is certain.
    """

    displacement_mm: float
    share: float


def compare_patches(evidence: Evidence) -> PatchAgreement:
    """Find by how much the X-ray lies off the rendering in each patch, at the middle level."""
    return patch_agreement(evidence.middle, evidence.pose)


def patch_agreement(level: Level, pose: Float64[Tensor, '4 4']) -> PatchAgreement:
    """Find by how much the X-ray lies off the rendering at a pose in each patch of a level.

    Views are not pooled: good ones must not outvote one that lies off.
    """
    agreements = []
    renderings = level.renderings(pose[None], seen=True)
    for number, (images, _) in enumerate(renderings.views):
        found = displacements(
            level.views[number].line_integrals.to(images), images[0], _mask(level, number)
        )
        there = level.camera_from_first[number] @ pose
        scale = mm_per_pixel(there, level.volume.centre, level.views[number].camera)
        agreements.append(agreement_of(*found, scale))
    return worst_of(agreements)


def mm_per_pixel(
    camera_from_ct: Float64[Tensor, '4 4'], centre_mm: Float64[Tensor, '3'], camera: Camera
) -> float:
    """Return what a pixel measures at the depth of a point of the CT."""
    depth_mm = float(se3.transform_points(camera_from_ct, centre_mm[None])[0, 2])
    return depth_mm / camera.focal_length


def agreement_of(
    px: Float64[Tensor, 'n'], sigma: Float64[Tensor, 'n'], mm_per_px: float
) -> PatchAgreement:
    """Return what the displacements of one view's patches say (`displacements`)."""
    sizes = px[sigma < MAX_SIGMA_PX] * mm_per_px
    median = float(sizes.median()) if len(sizes) else _NOWHERE_MM
    return PatchAgreement(median, len(sizes) / max(len(px), 1))


def worst_of(views: Sequence[PatchAgreement]) -> PatchAgreement:
    """Return the largest displacement and the smallest share of several views."""
    return PatchAgreement(
        max(view.displacement_mm for view in views), min(view.share for view in views)
    )


def check_displacement(agreement: PatchAgreement) -> Check:
    """Reject if patches of the X-ray lie off those of the rendering."""
    against = (Verdict.REJECTED, ErrorCode.SIMILARITY_TOO_LOW)
    return Check.at_most(
        'patch_displacement_mm', agreement.displacement_mm, MAX_DISPLACEMENT_MM, against
    )


def check_share(agreement: PatchAgreement) -> Check:
    """Reject if too few patches look like the rendering."""
    against = (Verdict.REJECTED, ErrorCode.SIMILARITY_TOO_LOW)
    return Check.at_least('agreeing_patches', agreement.share, MIN_SHARE_OF_PATCHES, against)


def displacements(
    xray: Float32[Tensor, 'H W'], image: Float32[Tensor, 'H W'], mask: Bool[Tensor, 'H W']
) -> tuple[Float64[Tensor, 'n'], Float64[Tensor, 'n']]:
    """Return size and standard deviation (pixels) of the displacement of each patch.

    In a patch the X-ray is taken for gain, offset and a shift of the rendering, which a linear fit
    finds (B. D. Lucas and T. Kanade, IJCAI 1981). Patches of which the mask leaves little, and in
    which the rendering shows nothing, are left out. The sums are taken on the images' device, all
    else on the host.
    """
    y = image.double()
    slope_v, slope_u = torch.gradient(y)
    columns = torch.stack([y, slope_u, slope_v, xray.double()], -1)
    columns, usable = _patches(columns), _patches(_inner(mask)[..., None].double())
    count = usable.sum(1)
    mean = (columns * usable).sum(1, keepdim=True) / count.clamp(min=1)[:, None]
    centred = (columns - mean) * usable
    moments = centred.mT @ centred
    found = on_host(_Sums(moments, count[:, 0], _variance(y, mask)))
    structure = found.moments[:, 0, 0] / found.count.clamp(min=1) / found.variance.clamp(min=1e-30)
    kept = (found.count > MIN_USABLE * columns.shape[1]) & (structure > MIN_STRUCTURE)
    return _shifts(found.moments[kept], found.count[kept])


@dataclass(frozen=True)
class _Sums:
    """Moments and number of the usable pixels of each patch, variance of the whole image."""

    moments: Float64[Tensor, 'n 4 4']
    count: Float64[Tensor, 'n']
    variance: Float64[Tensor, '']


def _variance(image: Float64[Tensor, 'H W'], mask: Bool[Tensor, 'H W']) -> Float64[Tensor, '']:
    count = mask.sum()
    deviation = torch.where(mask, image - torch.where(mask, image, 0.0).sum() / count, 0.0)
    return deviation.square().sum() / (count - 1)


def _shifts(
    moments: Float64[Tensor, 'n 4 4'], count: Float64[Tensor, 'n']
) -> tuple[Float64[Tensor, 'n'], Float64[Tensor, 'n']]:
    normal, right = moments[:, :3, :3], moments[:, :3, 3]
    scale = normal.diagonal(dim1=1, dim2=2).sqrt().clamp(min=1e-30)
    inverse = torch.linalg.pinv(normal / scale[:, :, None] / scale[:, None, :], hermitian=True)
    inverse = inverse / scale[:, :, None] / scale[:, None, :]
    fit = (inverse @ right[..., None])[..., 0]
    left = (moments[:, 3, 3] - (fit * right).sum(1)).clamp(min=0) / (count - 4).clamp(min=1)
    gain = fit[:, 0]
    # A patch that looks inverted does not look alike at all.
    gain = torch.where(gain > 0, gain, 1e-30)
    shift = fit[:, 1:].norm(dim=1) / gain
    variance = left * (inverse[:, 1, 1] + inverse[:, 2, 2]) / 2
    return shift, variance.sqrt() / gain


def _patches(image: Float64[Tensor, 'H W C']) -> Float64[Tensor, 'n p C']:
    """Return PATCHES by PATCHES patches of equal size, the margin that is left over cut off."""
    height, width = (max(1, side // PATCHES) for side in image.shape[:2])
    rows, columns = image.shape[0] // height, image.shape[1] // width
    image = image[: rows * height, : columns * width]
    parts = image.reshape(rows, height, columns, width, -1).transpose(1, 2)
    return parts.reshape(rows * columns, height * width, -1)


def _inner(mask: Bool[Tensor, 'H W']) -> Bool[Tensor, 'H W']:
    """Return the usable pixels whose slopes are known."""
    inner = torch.zeros_like(mask)
    inner[1:-1, 1:-1] = mask[1:-1, 1:-1]
    return inner


def _mask(level: Level, number: int) -> Bool[Tensor, 'H W']:
    return level.views[number].usable.to(level.volume.device)
