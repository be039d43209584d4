"""Each disturbance alone, combinations, and what an X-ray is without any."""

import numpy as np
import pytest

pytest.importorskip('diffdrr.renderers')

from sph_reg_ros.evaluation.disturbances import (
    DISTURBANCES,
    Disturbances,
    change_intensity,
    draw_aperture,
    draw_disturbances,
    middle,
    scattered_light,
    wide_spectrum,
)
from sph_reg_ros.evaluation.exposure import NOISE_ONLY, PHOTONS_IN_THE_MIDDLE, take_xray
from sph_reg_ros.evaluation.instruments import LARGEST_SHARE, SMALLEST_SHARE, draw_instrument
from sph_reg_ros.evaluation.path_cache import PathIntegrals
from sph_reg_ros.evaluation.simulation import transmitted_share
from sph_reg_ros.imaging.attenuation import water_attenuation

SIZE = (96, 128)
OPEN_BEAM = NOISE_ONLY.open_beam_counts


def body() -> PathIntegrals:
    """Return a soft ellipse with a bar of bone, air around."""
    v, u = np.mgrid[: SIZE[0], : SIZE[1]]
    depth = np.clip(1 - ((v - 48) / 44) ** 2 - ((u - 64) / 50) ** 2, 0, None)
    soft_mm = (200 * np.sqrt(depth)).astype(np.float32)
    bone_mm = (25.0 * (np.abs(u - 64) < 8) * (depth > 0)).astype(np.float32)
    return PathIntegrals(soft_mm, bone_mm)


def xray(*names: str, seed: int = 0) -> np.ndarray:
    disturbances = Disturbances(frozenset(names))
    return take_xray(body(), disturbances, np.random.default_rng(seed)).astype(float)


def test_without_disturbances_there_is_noise_only():
    counts = xray()
    integrals = -np.log(counts / OPEN_BEAM)
    # Far from edges, which the detector blurs; one energy, so that water is what its path says.
    soft = body().soft_mm * water_attenuation(60.0)
    flat = np.s_[40:56, 76:90]
    assert integrals[flat].mean() == pytest.approx(soft[flat].mean(), rel=2e-3)
    noise = (integrals - soft)[flat].std()
    assert 0.001 < noise < 0.05


def test_the_exposure_gives_the_middle_its_photons():
    noise = []
    for seed in range(40):
        noise.append(middle(xray(seed=seed)))
    noise = np.std(noise, axis=0) / np.mean(noise, axis=0)
    # The blur comes before the photons are counted: what is left is theirs.
    assert np.median(noise) == pytest.approx(PHOTONS_IN_THE_MIDDLE**-0.5, rel=0.1)


@pytest.mark.parametrize('name', DISTURBANCES)
def test_every_disturbance_changes_the_image_and_comes_from_the_seed(name):
    once, again, other = xray(name), xray(name), xray(name, seed=1)
    np.testing.assert_array_equal(once, again)
    assert np.abs(once - other).max() > 10
    plain = xray()
    assert np.mean(np.abs(once - plain) > 0.1 * plain) > 0.002


@pytest.mark.parametrize('gamma', [0.7, 1.0, 1.4])
def test_gamma_bends_line_integrals_and_keeps_their_order(gamma):
    integrals = np.linspace(0.0, 4.0, 200)[None]
    counts = np.rint(OPEN_BEAM * np.exp(-integrals)).astype(np.uint16)
    changed = change_intensity(counts, gamma, OPEN_BEAM, 3.0).astype(float)
    assert (np.diff(changed[0]) <= 0).all()
    bent = -np.log(changed / OPEN_BEAM)
    assert np.interp(3.0, integrals[0], bent[0]) == pytest.approx(3.0, abs=0.01)
    assert np.interp(1.0, integrals[0], bent[0]) == pytest.approx(3.0 * 3.0**-gamma, abs=0.01)
    if gamma == 1.0:
        np.testing.assert_array_equal(changed, counts)


def test_what_is_brighter_than_the_open_beam_stays_so():
    counts = np.array([[1.01 * OPEN_BEAM]]).astype(np.uint16)
    assert change_intensity(counts, 0.7, OPEN_BEAM, 3.0).item() > 1.01 * OPEN_BEAM


def transmission() -> np.ndarray:
    return transmitted_share(body().soft_mm, body().bone_mm, NOISE_ONLY)


def test_scatter_is_smooth_has_its_ratio_and_comes_from_the_exposed_body():
    primary, exposed = transmission(), np.ones(SIZE, np.float32)
    light = scattered_light(primary, 0.7, exposed)
    assert np.median(middle(light / primary)) == pytest.approx(0.7, rel=1e-4)
    assert np.abs(np.diff(light, axis=1)).max() < 0.1 * light.max()
    np.testing.assert_allclose(
        scattered_light(np.ones(SIZE, np.float32), 0.7, exposed), 0.0, atol=1e-9
    )


def test_a_higher_voltage_hardens_the_beam():
    shares = []
    for kv in (70.0, 120.0):
        energies, weights = wide_spectrum(kv)
        assert energies[0] == 40.0 and energies[-1] < kv and min(weights) > 0
        shares.append(np.average(energies, weights=weights))
    assert shares[1] > shares[0] + 5


def test_a_collimator_leaves_most_of_the_field_open():
    for seed in range(30):
        aperture = draw_aperture(SIZE, np.random.default_rng(seed))
        assert 0.4 < (aperture == 1.0).mean() < 0.95
        assert aperture.min() == pytest.approx(0.002)
        assert aperture[48, 64] == 1.0


def test_an_instrument_covers_at_most_a_tenth_of_the_image():
    shares = []
    for seed in range(60):
        steel = draw_instrument(SIZE, np.random.default_rng(seed))
        shares.append(np.mean(steel > 0))
        assert steel.min() == 0.0 and 0.8 < steel.max() < 10.0
    assert SMALLEST_SHARE <= min(shares) and max(shares) <= LARGEST_SHARE
    assert max(shares) > 0.05


def test_combinations_are_drawn_evenly_and_never_empty():
    generator = np.random.default_rng(0)
    drawn = [draw_disturbances(generator).names for _ in range(600)]
    assert all(drawn) and len(set(drawn)) == 2 ** len(DISTURBANCES) - 1
    for name in DISTURBANCES:
        assert np.mean([name in names for names in drawn]) == pytest.approx(16 / 31, abs=0.06)
