"""Hounsfield units to linear attenuation.

Mass attenuation coefficients: J. H. Hubbell and S. M. Seltzer, NIST XAAMDI (NISTIR 5632), liquid
water and cortical bone (ICRU-44).
"""

import itertools
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float32, Float64, Shaped, UInt16
from torch import Tensor

from sph_reg_ros.errors import ConfigError, CTError, ErrorCode
from sph_reg_ros.imaging.ct.hounsfield import AIR_HU
from sph_reg_ros.imaging.ct.volume import CT
from sph_reg_ros.imaging.packed_voxels import LARGEST, MOST_IN_FLOATS, PackedVoxels, rounded

Table = tuple[float, ...]
"""Mass attenuation (cm^2/g) at the energies of TABLE_KEV."""
TABLE_KEV = (30.0, 40.0, 50.0, 60.0, 80.0, 100.0, 150.0)
WATER_CM2_PER_G = (0.3756, 0.2683, 0.2269, 0.2059, 0.1837, 0.1707, 0.1505)
BONE_CM2_PER_G = (1.331, 0.6655, 0.4242, 0.3148, 0.2229, 0.1855, 0.1480)
WATER_G_PER_CM3 = 1.0
BONE_G_PER_CM3 = 1.92
CM_PER_MM = 0.1
CT_EFFECTIVE_KEV = 70.0
"""Effective energy of a CT at 120 kVp: there the model returns the attenuation that was scanned."""


@dataclass(frozen=True, eq=False)
class AttenuationVolume:
    """Linear attenuation on the grid of a CT.

    Attributes:
        voxels: [K, J, I] float32 in 1/mm, index i fastest, air is 0; or the same in 16 bits.
        ct_from_index: [4, 4] float64; maps (i, j, k, 1) to LPS world coordinates (mm).
        assumptions: see CT.
        hounsfield_doubts: see CT.
    """

    voxels: Float32[Tensor, 'K J I'] | PackedVoxels
    ct_from_index: Float64[Tensor, '4 4']
    assumptions: tuple[str, ...] = ()
    hounsfield_doubts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check shapes and values; raises CTError."""
        if isinstance(self.voxels, Tensor):
            _require_floats(self.voxels)
        if self.ct_from_index.shape != (4, 4) or self.ct_from_index.dtype != torch.float64:
            raise CTError(ErrorCode.CT_GEOMETRY, 'ct_from_index must be a float64 matrix [4, 4]')
        if not torch.isfinite(self.ct_from_index).all():
            raise CTError(ErrorCode.CT_GEOMETRY, 'ct_from_index has NaN or infinite values')
        if float(torch.det(self.ct_from_index[:3, :3]).abs()) < 1e-12:
            raise CTError(ErrorCode.CT_GEOMETRY, 'ct_from_index is not invertible')

    @property
    def mu(self) -> Float32[Tensor, 'K J I']:
        """Return attenuation in 1/mm; of packed voxels a new tensor of twice their size."""
        return self.voxels if isinstance(self.voxels, Tensor) else self.voxels.floats()

    @property
    def device(self) -> torch.device:
        """Return where the voxels are."""
        return self.voxels.device if isinstance(self.voxels, Tensor) else torch.device('cpu')

    @property
    def doubts(self) -> tuple[str, ...]:
        """Return why a registration of this CT may fail or mislead, a phrase each."""
        return tuple(f'CT: {text}' for text in (*self.assumptions, *self.hounsfield_doubts))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return (K, J, I)."""
        slices, rows, columns = self.voxels.shape
        return slices, rows, columns

    @cached_property
    def centre(self) -> Float64[Tensor, '3']:
        """Return the middle of the voxel grid in LPS world coordinates (mm)."""
        middle = (torch.tensor(self.shape[::-1], dtype=torch.float64) - 1) / 2
        affine = self.ct_from_index
        return affine[:3, :3] @ middle.to(affine.device) + affine[:3, 3]

    @cached_property
    def corners(self) -> Float64[Tensor, '8 3']:
        """Return the outer corners of the voxel grid in LPS world coordinates (mm)."""
        ends = [(-0.5, count - 0.5) for count in reversed(self.shape)]
        affine = self.ct_from_index.cpu()
        indices = torch.tensor(list(itertools.product(*ends)), dtype=torch.float64)
        return indices @ affine[:3, :3].T + affine[:3, 3]

    @cached_property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Return the voxel spacing (mm) along i, j and k."""
        i, j, k = torch.linalg.vector_norm(self.ct_from_index[:3, :3], dim=0).tolist()
        return i, j, k

    @cached_property
    def zero_padded(self) -> Float32[Tensor, 'K+2 J+2 I+2']:
        """Return `mu` with one voxel of air all around, so that interpolation fades to 0."""
        return torch.nn.functional.pad(self.mu, (1,) * 6)

    def to(self, device: torch.device | str) -> 'AttenuationVolume':
        """Return the volume with its voxels on a device; the affine stays where it is."""
        if self.device == torch.device(device):
            return self
        voxels = self.voxels
        moved = voxels.to(device) if isinstance(voxels, Tensor) else voxels.floats(device)
        return replace(self, voxels=moved)

    def block_of(self, size_mm: float) -> tuple[int, int, int]:
        """Return the voxels along i, j, k that together are no longer than a size, at least one."""
        i, j, k = (max(1, int(size_mm / spacing)) for spacing in self.spacing_mm)
        return i, j, k

    def coarsened(self, size_mm: float) -> 'AttenuationVolume':
        """Return the CT averaged to voxels of about a size (mm), itself if it is no finer."""
        block = self.block_of(size_mm)
        return self if max(block) == 1 else self.downsampled(block)

    def downsampled(self, factors: int | tuple[int, int, int]) -> 'AttenuationVolume':
        """Return the mean over blocks of voxels; structures keep their world position.

        Args:
            factors: block size in voxels along i, j, k, or one for all three. An axis that the
                block does not divide is filled up with air at its end.
        """
        i, j, k = (factors,) * 3 if isinstance(factors, int) else factors
        if min(i, j, k) < 1:
            raise ConfigError(ErrorCode.CONFIG_INVALID, 'downsampling factors must be at least 1')
        voxels = self.voxels
        if isinstance(voxels, PackedVoxels):
            voxels = stored(voxels.block_means((i, j, k)))
        else:
            voxels = _block_means(voxels, (i, j, k))
        # A block's centre lies (factor - 1) / 2 voxels behind the centre of its first voxel.
        block = torch.diag(torch.tensor([i, j, k, 1], dtype=torch.float64))
        block[:3, 3] = torch.tensor([(i - 1) / 2, (j - 1) / 2, (k - 1) / 2], dtype=torch.float64)
        affine = self.ct_from_index @ block.to(self.ct_from_index.device)
        return replace(self, voxels=voxels, ct_from_index=affine)


def _require_floats(mu: Tensor) -> None:
    if mu.ndim != 3 or mu.numel() == 0 or mu.dtype != torch.float32:
        raise CTError(ErrorCode.CT_GEOMETRY, 'mu must be a float32 volume [K, J, I]')
    # Both are NaN if any voxel is.
    if not torch.isfinite(torch.stack(torch.aminmax(mu))).all():
        raise CTError(ErrorCode.CT_UNREADABLE, 'mu has NaN or infinite voxels')


def _block_means(
    mu: Float32[Tensor, 'K J I'], factors: tuple[int, int, int]
) -> Float32[Tensor, 'K J I']:
    padding = [
        amount
        for size, factor in zip(reversed(mu.shape), factors, strict=True)
        for amount in (0, -size % factor)
    ]
    mu = torch.nn.functional.pad(mu, padding)
    return torch.nn.functional.avg_pool3d(mu[None, None], factors[::-1])[0, 0]


def stored(mu: Float32[Tensor, 'K J I']) -> Float32[Tensor, 'K J I'] | PackedVoxels:
    """Return a large volume in 16 bits."""
    packed = PackedVoxels.of(mu) if mu.numel() > MOST_IN_FLOATS else None
    return mu if packed is None else packed


def water_attenuation(energy_kev: float) -> float:
    """Return the linear attenuation (1/mm) of water; raises ConfigError outside 30 to 150 keV."""
    return table_value(WATER_CM2_PER_G, energy_kev) * WATER_G_PER_CM3 * CM_PER_MM


def bone_attenuation(energy_kev: float) -> float:
    """Return the linear attenuation (1/mm) of cortical bone; ConfigError outside 30 to 150 keV."""
    return table_value(BONE_CM2_PER_G, energy_kev) * BONE_G_PER_CM3 * CM_PER_MM


def attenuation_of_hounsfield(hounsfield: float, energy_kev: float = 60.0) -> float:
    """Return the linear attenuation (1/mm) of one value; as attenuation_from_hounsfield."""
    return float(_Model(energy_kev).attenuation(np.array(hounsfield)))


def hounsfield_from_attenuation(
    attenuation: Float32[np.ndarray, '...'], energy_kev: float = 60.0
) -> Float32[np.ndarray, '...']:
    """Return the Hounsfield units that attenuation_from_hounsfield makes this (1/mm) of."""
    return _Model(energy_kev).hounsfield(attenuation)


def attenuation_from_hounsfield(ct: CT, energy_kev: float = 60.0) -> AttenuationVolume:
    """Turn Hounsfield units into linear attenuation at one photon energy.

    Below 0 HU a voxel is a mixture of air and water, above it one of water and cortical bone whose
    share follows from the attenuation at CT_EFFECTIVE_KEV (a bilinear model). Values below -1000 HU
    are air, mu = 0. Above cortical bone the line goes on; metal is not modelled.

    Args:
        ct: the CT.
        energy_kev: effective photon energy of the X-ray image, 30 to 150 keV.

    Raises:
        ConfigError: the energy is out of range.
    """
    model = _Model(energy_kev)
    affine = torch.from_numpy(ct.ct_from_index.copy())
    packed = _packed(ct, model) if ct.hounsfield.size > MOST_IN_FLOATS else None
    voxels = torch.from_numpy(model.attenuation(ct.hounsfield)) if packed is None else packed
    return AttenuationVolume(voxels, affine, ct.assumptions, ct.hounsfield_doubts)


def _packed(ct: CT, model: '_Model') -> PackedVoxels | None:
    """Return the CT in 16 bits; None if it is all air."""
    largest = float(model.attenuation(np.float32(ct.range_hu[1])))
    if largest <= 0:
        return None

    def units(values: Shaped[np.ndarray, 'J I'], per_mu: np.float32) -> UInt16[np.ndarray, 'J I']:
        return rounded(model.attenuation(values) * per_mu)

    if ct.hounsfield.dtype != np.int16:
        return PackedVoxels.converted(ct.hounsfield, largest, units)
    every = np.arange(1 << 16, dtype=np.uint16).view(np.int16)
    table = units(every.clip(max=ct.range_hu[1]), np.float32(1 / (largest / LARGEST)))
    return PackedVoxels.converted(
        ct.hounsfield, largest, lambda values, _: table.take(values.view(np.uint16), mode='clip')
    )


class _Model:
    """Bilinear in HU: slope up to water, and what bone adds above."""

    def __init__(self, energy_kev: float) -> None:
        per_hu = water_attenuation(energy_kev) / -AIR_HU
        self._per_hu = np.float32(per_hu)
        self._extra_per_bone_hu = np.float32(_bone_slope(energy_kev) - per_hu)

    def attenuation(self, values: Shaped[np.ndarray, '...']) -> Float32[np.ndarray, '...']:
        """Return attenuation (1/mm) of HU."""
        hounsfield = np.maximum(values.astype(np.float32), np.float32(AIR_HU))
        bone = np.maximum(hounsfield, np.float32(0))
        return (hounsfield - np.float32(AIR_HU)) * self._per_hu + bone * self._extra_per_bone_hu

    def hounsfield(self, attenuation: Float32[np.ndarray, '...']) -> Float32[np.ndarray, '...']:
        """Return HU of attenuation (1/mm), the inverse from air on."""
        above_air = attenuation / self._per_hu
        water = np.float32(-AIR_HU)
        slope = self._per_hu / (self._per_hu + self._extra_per_bone_hu)
        bone = np.maximum(above_air - water, np.float32(0)) * slope
        return np.minimum(above_air, water) - water + bone


def _bone_slope(energy_kev: float) -> float:
    """Return d mu / d HU (1/mm) of the water and bone mixture."""
    water_ct, bone_ct = water_attenuation(CT_EFFECTIVE_KEV), bone_attenuation(CT_EFFECTIVE_KEV)
    bone_share_per_hu = water_ct / -AIR_HU / (bone_ct - water_ct)
    return bone_share_per_hu * (bone_attenuation(energy_kev) - water_attenuation(energy_kev))


def table_value(table: Table, energy_kev: float) -> float:
    """Return a coefficient (cm^2/g) between the energies of a table.

    Interpolated in log-log, in which the coefficients are nearly straight lines.

    Raises:
        ConfigError: outside 30 to 150 keV.
    """
    if not TABLE_KEV[0] <= energy_kev <= TABLE_KEV[-1]:
        raise ConfigError(
            ErrorCode.CONFIG_INVALID,
            f'energy {energy_kev:g} keV is outside {TABLE_KEV[0]:g} to {TABLE_KEV[-1]:g} keV',
        )
    return float(np.exp(np.interp(np.log(energy_kev), np.log(TABLE_KEV), np.log(table))))
