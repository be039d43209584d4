"""Back-propagation through a renderer that gives its Jacobian, by one matrix product."""

from types import ModuleType
from typing import Any

import torch
from jaxtyping import Float, Float32, Float64
from torch import Tensor
from torch.autograd.function import once_differentiable

from sph_reg_ros.geometry import so3
from sph_reg_ros.imaging.attenuation import AttenuationVolume


def render_for_autograd(
    module: ModuleType,
    volume: AttenuationVolume,
    camera_from_ct: Float[Tensor, 'B 4 4'],
    K: Float64[Tensor, '3 3'],
    size: tuple[int, int],
    step_mm: float | None,
    scan_depth_mm: float = 0.0,
) -> Float32[Tensor, 'B H W']:
    """Render with `module` an image that torch can differentiate once by `camera_from_ct`."""
    image: Tensor = _Render.apply(camera_from_ct, module, volume, K, size, step_mm, scan_depth_mm)
    return image


def pose_gradient(
    twist_gradient: Float[Tensor, 'B 6'],
    camera_from_ct: Float[Tensor, 'B 4 4'],
    centre: Float64[Tensor, '3'],
) -> Float[Tensor, 'B 4 4']:
    """Turn a gradient by a twist about `centre` into one by the entries of `camera_from_ct`.

    With `camera_from_ct` = [R t], a twist (omega, v) on the left about c makes dR = hat(omega) R
    and moves the centre by v = dR c + dt, to first order. So omega is the skew part of dR R^T, and
    the gradient g of the twist pulls back to g_v by t and to hat(g_omega) R / 2 + g_v c^T by R.
    Changes of R that leave the rotations have no meaning; this choice ignores their symmetric part.
    """
    R = camera_from_ct[:, :3, :3]
    by_omega, by_v = twist_gradient[:, :3], twist_gradient[:, 3:]
    gradient = torch.zeros_like(camera_from_ct)
    gradient[:, :3, :3] = so3.hat(by_omega) @ R / 2 + by_v[:, :, None] * centre.to(R)
    gradient[:, :3, 3] = by_v
    return gradient


class _Render(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[no-untyped-def]
        ctx: Any,
        camera_from_ct: Tensor,
        module: ModuleType,
        volume: AttenuationVolume,
        *view,
    ) -> Tensor:
        *pinhole, scan_depth_mm = view
        image, jacobian = module.render_with_jacobian(
            volume, camera_from_ct, *pinhole, scan_depth_mm=scan_depth_mm
        )
        ctx.save_for_backward(camera_from_ct, jacobian)
        ctx.centre = volume.centre
        return image

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, image_gradient: Tensor) -> tuple[Tensor | None, ...]:
        camera_from_ct, jacobian = ctx.saved_tensors
        by_twist = torch.einsum('bhw,bhwc->bc', image_gradient, jacobian).to(camera_from_ct)
        return pose_gradient(by_twist, camera_from_ct, ctx.centre), *(None,) * 6
