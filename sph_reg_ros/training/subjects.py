"""The CTs that a training looks at, as its renderer takes them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float32, Float64
from torch import Tensor

from sph_reg_ros.imaging.attenuation import AttenuationVolume, attenuation_from_hounsfield
from sph_reg_ros.imaging.ct.volume import CT
from sph_reg_ros.training.run_config import Anatomy
from sph_reg_ros.training.seeding import generator_of

_SMALLEST_PART = 0.6


@dataclass(frozen=True, eq=False)
class Subject:
    """One CT, or a part of one.

    Attributes:
        volumes: its attenuation at each energy, no finer than images can show.
        cube: what a network for unknown patients sees of it; None if there is no such network.
    """

    volumes: tuple[AttenuationVolume, ...]
    cube: Float32[Tensor, 'D D D'] | None = None

    @property
    def centre_mm(self) -> Float64[Tensor, '3']:
        """Return the middle of the CT (LPS), which its poses turn about."""
        return self.volumes[0].centre


def subjects_from(
    cts: Sequence[CT], anatomy: Anatomy, pixel_mm: float, device: torch.device | str, seed: int
) -> tuple[Subject, ...]:
    """Prepare CTs for training.

    Args:
        cts: the CTs.
        anatomy: energies, and what else to make of each CT.
        pixel_mm: size of a pixel at the middle of a CT; voxels are averaged to about that size.
        device: where to render.
        seed: of random parts.
    """
    return tuple(
        Subject(tuple(volume.to(device).coarsened(pixel_mm) for volume in volumes))
        for number, ct in enumerate(cts)
        for volumes in _variants(ct, anatomy, generator_of('cpu', 'crops', seed, number))
    )


def _variants(
    ct: CT, anatomy: Anatomy, generator: torch.Generator
) -> Iterator[tuple[AttenuationVolume, ...]]:
    """Yield the CT at all energies, then random parts of it, each followed by its mirror image."""
    whole = tuple(attenuation_from_hounsfield(ct, kev) for kev in anatomy.energies_kev)
    parts = [whole]
    for _ in range(anatomy.crops):
        box = _random_box(whole[0].shape, generator)
        parts.append(tuple(_cropped(volume, box) for volume in whole))
    for part in parts:
        yield part
        if anatomy.flips:
            yield tuple(_mirrored(volume) for volume in part)


def _random_box(shape: tuple[int, ...], generator: torch.Generator) -> tuple[slice, ...]:
    """Return 60 to 100 % of each axis, anywhere on it."""
    box = []
    for size in shape:
        share, place = torch.rand(2, generator=generator).tolist()
        kept = max(2, round(size * (_SMALLEST_PART + (1 - _SMALLEST_PART) * share)))
        first = round((size - kept) * place)
        box.append(slice(first, first + kept))
    return tuple(box)


def _cropped(volume: AttenuationVolume, box: tuple[slice, ...]) -> AttenuationVolume:
    shift = torch.eye(4, dtype=torch.float64)
    shift[:3, 3] = torch.tensor([part.start for part in reversed(box)], dtype=torch.float64)
    return replace(
        volume, voxels=volume.mu[box].contiguous(), ct_from_index=volume.ct_from_index @ shift
    )


def _mirrored(volume: AttenuationVolume) -> AttenuationVolume:
    """Return the CT with left and right exchanged, along the axis of voxels that is nearest."""
    axis = int(volume.ct_from_index[0, :3].abs().argmax())
    return replace(volume, voxels=volume.mu.flip(2 - axis))
