"""Small CTs with known content, for every test."""

import torch

from sph_reg_ros.geometry import se3
from sph_reg_ros.imaging.attenuation import AttenuationVolume

# Anisotropic, with one reversed axis (negative determinant) and an origin far from 0.
AFFINE = torch.tensor(
    [[2.0, 0, 0, -30], [0, -1.5, 0, 40], [0, 0, 3.0, 20], [0, 0, 0, 1]], dtype=torch.float64
)


def smooth_phantom(
    size: tuple[int, int, int] = (24, 40, 36), affine: torch.Tensor = AFFINE
) -> AttenuationVolume:
    """Return blobs without symmetry that fade to air inside the volume."""
    z, y, x = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in size], indexing='ij')
    generator = torch.Generator().manual_seed(0)
    mu = torch.zeros(size)
    for _ in range(12):
        cx, cy, cz = (torch.rand(3, generator=generator) - 0.5).tolist()
        width = 0.02 + 0.06 * float(torch.rand(1, generator=generator))
        mu += 0.02 * torch.exp(-((x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2) / width)
    window = (1 - x**2) * (1 - y**2) * (1 - z**2)
    return AttenuationVolume((mu * window).float(), affine.clone())


def trunk_phantom() -> AttenuationVolume:
    """Return a body with a spine, ribs on one side and some single bones: no two views alike."""
    affine = torch.diag(torch.tensor([2.5, 2.5, 3.0, 1.0], dtype=torch.float64))
    affine[:3, 3] = torch.tensor([-40.0, 25.0, -70.0])
    z, y, x = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in (30, 32, 40)], indexing='ij')
    mu = 0.02 * torch.sigmoid(20 * (0.85 - (x**2 + (1.2 * y) ** 2).sqrt()))
    mu += 0.03 * torch.sigmoid(25 * (0.16 - (x**2 + (y - 0.4) ** 2).sqrt())) * (1 + (20 * z).sin())
    ribs = ((x**2 + (1.3 * y) ** 2).sqrt() - 0.7).abs() + 0.2 * ((12 * z + 3 * y).sin() - 0.8).abs()
    mu += 0.04 * torch.sigmoid(40 * (0.08 - ribs)) * (x > 0.1)
    generator = torch.Generator().manual_seed(0)
    for cx, cy, cz in (torch.rand(10, 3, generator=generator) * 1.2 - 0.6).tolist():
        distance = ((x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2).sqrt()
        mu += 0.03 * torch.sigmoid(30 * (0.14 - distance))
    return AttenuationVolume(mu.float(), affine)


def box_phantom(mu: float, size: tuple[int, int, int], affine: torch.Tensor) -> AttenuationVolume:
    """Return a volume of one attenuation (1/mm)."""
    return AttenuationVolume(torch.full(size, mu), affine.clone())


def pose_in_front(
    volume: AttenuationVolume, distance_mm: float = 700.0, rotation: tuple = (0.3, -0.2, 0.5)
) -> torch.Tensor:
    """Return camera_from_ct with the volume's centre near the optical axis."""
    turn = se3.exp(torch.tensor([*rotation, 0.0, 0.0, 0.0], dtype=torch.float64))
    offset = torch.tensor([5.0, -10.0, distance_mm], dtype=torch.float64)
    return se3.from_parts(turn[:3, :3], offset - turn[:3, :3] @ volume.centre)
