"""Materials of implants, instruments and bone models, and what they attenuate.

Mass attenuation coefficients: J. H. Hubbell and S. M. Seltzer, NIST XAAMDI (NISTIR 5632), elements
and the compounds PMMA and cortical bone (ICRU-44); of an alloy the sum over its elements by mass.
Compositions (middle of the range) and densities: ASTM F75 (cobalt-chrome), F136 (titanium), F138
(stainless steel).
"""

from dataclasses import dataclass

from sph_reg_ros.errors import BodyError, ErrorCode
from sph_reg_ros.imaging.attenuation import (
    BONE_CM2_PER_G,
    BONE_G_PER_CM3,
    CM_PER_MM,
    Table,
    bone_attenuation,
    table_value,
)

ALUMINIUM = (1.128, 0.5685, 0.3681, 0.2778, 0.2018, 0.1704, 0.1378)
TITANIUM = (4.972, 2.214, 1.213, 0.7661, 0.4052, 0.2721, 0.1649)
VANADIUM = (5.564, 2.472, 1.347, 0.8438, 0.4371, 0.2877, 0.1682)
CHROMIUM = (6.434, 2.856, 1.550, 0.9639, 0.4905, 0.3166, 0.1788)
IRON = (8.176, 3.629, 1.958, 1.205, 0.5952, 0.3717, 0.1964)
COBALT = (8.962, 3.981, 2.144, 1.314, 0.6414, 0.3949, 0.2023)
NICKEL = (10.34, 4.600, 2.474, 1.512, 0.7306, 0.4440, 0.2208)
MOLYBDENUM = (28.10, 12.94, 7.037, 4.274, 1.962, 1.096, 0.4208)
PMMA = (0.3032, 0.2350, 0.2074, 0.1924, 0.1751, 0.1641, 0.1456)
"""cm^2/g at the energies of attenuation.TABLE_KEV."""

COMPOSITIONS: dict[str, tuple[float, dict[Table, float]]] = {
    'cobalt-chrome': (8.3, {COBALT: 0.66, CHROMIUM: 0.28, MOLYBDENUM: 0.06}),
    'titanium': (4.43, {TITANIUM: 0.90, ALUMINIUM: 0.06, VANADIUM: 0.04}),
    'steel': (8.0, {IRON: 0.655, CHROMIUM: 0.18, NICKEL: 0.14, MOLYBDENUM: 0.025}),
    'pmma': (1.19, {PMMA: 1.0}),
    'bone': (BONE_G_PER_CM3, {BONE_CM2_PER_G: 1.0}),
}
"""Density (g/cm^3) and mass fractions."""
METAL_TIMES_BONE = 2.0
"""Titanium attenuates 2.6 to 6 times as much as cortical bone of the same energy."""


@dataclass(frozen=True)
class Material:
    """What a body is made of.

    Attributes:
        name: one of COMPOSITIONS, or 'attenuation' if only that is known.
        attenuation_per_mm: linear attenuation (1/mm) at the energy of the rendering.
        is_metal: whether it is opaque: a few millimetres let through next to nothing, so that only
            its contour tells where it is.
    """

    name: str
    attenuation_per_mm: float
    is_metal: bool


def material(name: str, energy_kev: float) -> Material:
    """Return a material at a photon energy.

    Raises:
        BodyError: BODIES_INVALID for a name that is not known.
        ConfigError: the energy is outside 30 to 150 keV.
    """
    if name not in COMPOSITIONS:
        raise BodyError(
            ErrorCode.BODIES_INVALID,
            f'there is no material {name!r}: take one of {", ".join(COMPOSITIONS)}, or give '
            'attenuation: in 1/mm',
        )
    density, parts = COMPOSITIONS[name]
    cm2_per_g = sum(share * table_value(table, energy_kev) for table, share in parts.items())
    return _of(name, cm2_per_g * density * CM_PER_MM, energy_kev)


def material_of_attenuation(per_mm: float, energy_kev: float) -> Material:
    """Return an unnamed material of this attenuation (1/mm); raises ConfigError as `material`."""
    return _of('attenuation', per_mm, energy_kev)


def _of(name: str, per_mm: float, energy_kev: float) -> Material:
    return Material(name, per_mm, per_mm > METAL_TIMES_BONE * bone_attenuation(energy_kev))
