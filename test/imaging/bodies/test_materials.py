import pytest

from sph_reg_ros.errors import BodyError
from sph_reg_ros.imaging.attenuation import bone_attenuation
from sph_reg_ros.imaging.bodies.materials import COMPOSITIONS, material, material_of_attenuation


def test_an_alloy_attenuates_as_its_elements_do_together():
    # NIST XAAMDI at 60 keV by hand: 8.3 g/cm^3 * (0.66 * 1.314 + 0.28 * 0.9639 + 0.06 * 4.274).
    assert material('cobalt-chrome', 60.0).attenuation_per_mm == pytest.approx(1.1566, rel=1e-3)
    assert material('pmma', 60.0).attenuation_per_mm == pytest.approx(0.0229, rel=1e-2)
    assert material('bone', 60.0).attenuation_per_mm == pytest.approx(bone_attenuation(60.0))


@pytest.mark.parametrize('name', COMPOSITIONS)
def test_mass_fractions_add_up_to_one(name):
    assert sum(COMPOSITIONS[name][1].values()) == pytest.approx(1.0)


@pytest.mark.parametrize('energy_kev', [30.0, 60.0, 150.0])
def test_metals_are_told_from_bone_and_cement_at_every_energy(energy_kev):
    metals = {name for name in COMPOSITIONS if material(name, energy_kev).is_metal}
    assert metals == {'cobalt-chrome', 'titanium', 'steel'}
    assert material_of_attenuation(1.0, energy_kev).is_metal


def test_an_unknown_material_is_refused_with_those_there_are():
    with pytest.raises(BodyError, match='unobtainium.*titanium.*attenuation: in 1/mm'):
        material('unobtainium', 60.0)
