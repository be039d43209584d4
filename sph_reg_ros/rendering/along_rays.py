"""What moving the anatomy along a ray does to its pixel: nothing."""

import torch
from jaxtyping import Float
from torch import Tensor


def project_out_ray_motion(
    jacobian: Float[Tensor, '*b H W 6'],
    centre: Float[Tensor, '*b 3'],
    directions: Float[Tensor, 'H W 3'],
    twist_length_mm: float,
    sources_y: Float[Tensor, 'H W'] | None = None,
) -> Float[Tensor, '*b H W 6']:
    """Return the Jacobian as it is for an exact integral: a shift along a ray leaves it the same.

    The sum of grad V . c over a ray's samples only approximates that integral, which is exactly 0
    where the density is 0 at both ends. What is left of it, the noise of the quadrature, is larger
    than the true derivative by depth, which is a small difference of large terms. It is projected
    out: G loses its part along the ray's direction c, and omega what that part contributed. The
    renderer of CPUs does so by itself (`cpu.kernel.write_jacobian`).

    Args:
        jacobian: d/d(omega, v / twist_length_mm) of a twist about the centre, camera axes.
        centre: what twists turn about, camera mm.
        directions: of the pixels' rays, unit vectors in camera axes.
        twist_length_mm: one unit of translation.
        sources_y: y of the rays' sources in a line scan, camera mm.
    """
    c = directions.to(jacobian).expand_as(jacobian[..., 3:])
    arm = centre.to(c)[..., None, None, :].expand_as(c).clone()
    if sources_y is not None:
        arm[..., 1] -= sources_y.to(c)
    lever = torch.linalg.cross(arm / twist_length_mm, c)
    along = (jacobian[..., 3:] * c).sum(-1, keepdim=True)
    cleaned = jacobian.clone()
    cleaned[..., :3].addcmul_(lever, along)
    cleaned[..., 3:].addcmul_(c, along, value=-1)
    return cleaned
