"""How raw pixels become a view."""

import time

import numpy as np
import pytest

from sph_reg_ros.errors import ErrorCode, ImageError, RegistrationError
from sph_reg_ros.service.parameters import ImageParameters
from sph_reg_ros.service.protocol import Register, RegisterView
from sph_reg_ros.service.session import RegistrationSession, prepare_view, with_pauses

K = np.array([[100.0, 0, 31.5], [0, 100.0, 31.5], [0, 0, 1]])
LENGTHS = np.random.default_rng(0).uniform(0.5, 3.0, (64, 64))


def view(pixels: np.ndarray, **settings):
    return prepare_view(RegisterView(pixels, K), ImageParameters(**settings))


def test_counts_become_the_line_integrals_that_made_them():
    counts = (50000 * np.exp(-LENGTHS)).astype(np.uint16)
    found = view(counts, i0=50000.0, mask_collimator=False).line_integrals.numpy()
    assert np.abs(found - LENGTHS).max() < 1e-3


def test_an_inverted_display_gives_the_same_line_integrals():
    counts = 50000 * np.exp(-LENGTHS)
    inverted = (50000 - counts).astype(np.float32)
    settings = {'i0': 50000.0, 'mask_collimator': False}
    found = view(inverted, bright_air='false', **settings).line_integrals.numpy()
    assert np.abs(found - LENGTHS).max() < 1e-3


def test_line_integrals_are_taken_as_they_are():
    found = view(LENGTHS.astype(np.float32), intensity='line_integral').line_integrals.numpy()
    assert np.array_equal(found, LENGTHS.astype(np.float32))


def test_saturated_pixels_are_masked_if_asked_for():
    counts = (50000 * np.exp(-LENGTHS)).astype(np.uint16)
    counts[:8] = 65535
    masked = view(counts, mask_collimator=False).mask.numpy()
    # The row beside the sharp step goes with them.
    assert not masked[:9].any() and masked[9:].all()
    assert view(counts, mask_collimator=False, mask_saturation=False).mask is None


@pytest.mark.parametrize('value', [np.nan, -np.inf])
def test_pixels_that_are_no_numbers_are_refused(value):
    pixels = LENGTHS.astype(np.float32)
    pixels[0, 0] = value
    with pytest.raises(ImageError) as caught:
        view(pixels)
    assert caught.value.code == ErrorCode.IMAGE_CONTENT


def test_xrays_that_come_too_fast_leave_time_for_the_checks():
    answered = []

    def answer():
        answered.append(time.perf_counter())
        time.sleep(0.2)

    call = with_pauses(answer)
    call()
    for _ in range(3):
        call()
    assert len(answered) == 1
    time.sleep(0.25)
    call()
    assert len(answered) == 2


def test_without_a_ct_nothing_is_done():
    with pytest.raises(RegistrationError) as caught:
        RegistrationSession().handle(
            Register((RegisterView(LENGTHS, K),), None), lambda progress: None
        )
    assert caught.value.code == ErrorCode.CT_NOT_LOADED
