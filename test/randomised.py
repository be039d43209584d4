"""Images for tests of domain randomisation."""

import torch


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def line_integrals(count: int = 64, size: tuple[int, int] = (24, 32)) -> torch.Tensor:
    """Return bodies: thick in the middle, air around it, structures; each image another one."""
    generator = seeded(7)
    rows, columns = (torch.linspace(-1, 1, n) for n in size)
    body = (1.1 - rows[:, None].square() - columns.square()).clamp(min=0.0)
    rough = torch.rand(count, *size, generator=generator)
    return (4.0 + torch.rand(count, 1, 1, generator=generator)) * body * (0.8 + 0.2 * rough)


def changed(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """Return which images differ [B]."""
    return (before != after).flatten(1).any(1)
