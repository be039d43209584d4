"""The self-test on an analytic body: who finds what, and what it says."""

from dataclasses import replace

import pytest
import torch
from cli_files import attenuation_of
from localizer_files import SIDE, body, described_localizer, siemens

from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.result import Verdict
from sph_reg_ros.registration.self_test.scanner_error import ScannerError
from sph_reg_ros.registration.self_test.self_test import (
    MIRRORED,
    SelfTestSettings,
    self_test,
    starts_around,
)

VOLUME = attenuation_of(body())
ONE = SelfTestSettings(starts=1, rotation_deg=4.0, shift_mm=6.0)
COARSE = RegistrationConfig(levels=(32, 64), starts=0)


def test_starts_are_as_far_away_as_asked_and_all_different():
    localizer = described_localizer(SIDE)
    asked = SelfTestSettings(starts=3, rotation_deg=8.0, shift_mm=10.0, seed=4)
    starts = starts_around(localizer.camera_from_ct, VOLUME.centre, asked)
    for start in starts:
        error = ScannerError.between(start, localizer.camera_from_ct, VOLUME.centre)
        shift = (error.across_mm, error.along_table_mm, error.along_beam_mm)
        assert torch.tensor(shift).norm() == pytest.approx(10, abs=0.05)
        turn = torch.tensor([error.in_plane_deg, error.out_of_plane_deg]).norm()
        assert float(turn) == pytest.approx(8, abs=1e-4)
    assert not torch.allclose(starts[0], starts[1], atol=0.01)


def test_the_scanners_pose_is_found_and_the_mirrored_body_is_told():
    localizer = described_localizer(SIDE)
    found = self_test(VOLUME, localizer, ONE, COARSE)
    error = found.best.error
    assert max(abs(error.across_mm), abs(error.along_table_mm)) < 0.5
    assert abs(error.along_beam_mm) < 3 and error.out_of_plane_deg < 1
    assert found.share_found == 1 and found.mirrored_gain > 0 and not found.is_mirrored
    mirrored = AttenuationVolume(VOLUME.mu.flip(2).contiguous(), VOLUME.ct_from_index)
    other = self_test(mirrored, localizer, ONE, COARSE)
    assert other.is_mirrored and other.verdict == Verdict.REJECTED and other.reason == MIRRORED


@pytest.mark.parametrize('thicker', [1.008, 0.992])
def test_rows_that_are_farther_apart_than_stated_are_found(thicker):
    affine = VOLUME.ct_from_index.clone()
    affine[:3, 2] *= thicker
    affine[:3, 3] += VOLUME.centre - AttenuationVolume(VOLUME.mu, affine).centre
    found = self_test(AttenuationVolume(VOLUME.mu, affine), described_localizer(SIDE), ONE, COARSE)
    straight = self_test(VOLUME, described_localizer(SIDE), ONE, COARSE)
    assert found.rows_apart / straight.rows_apart == pytest.approx(thicker, abs=0.005)


def test_without_a_stated_side_the_one_that_fits_is_taken():
    localizer = described_localizer(SIDE, siemens)
    found = self_test(VOLUME, localizer, ONE, COARSE)
    assert found.mirrored_gain is None and found.best.error.agrees
    # The source was at the patient's left: the beam goes to the right.
    beam = found.compared.stated[2, :3]
    assert torch.allclose(beam, torch.tensor([-1.0, 0, 0]).double(), atol=1e-9)


def test_a_pose_that_passes_its_checks_elsewhere_is_rejected():
    found = self_test(VOLUME, described_localizer(SIDE), ONE, COARSE)
    (run,) = found.runs
    good = replace(run.result.verification, verdict=Verdict.VERIFIED)
    verified = replace(run, result=replace(run.result, verification=good))
    assert replace(found, runs=(verified,)).verdict == Verdict.VERIFIED
    assert replace(found, runs=(verified,)).reason == ''
    away = replace(verified, error=replace(run.error, along_table_mm=5.0))
    elsewhere = replace(found, runs=(away,))
    assert elsewhere.verdict == Verdict.REJECTED and '5.00 mm along the table' in elsewhere.reason
    assert elsewhere.share_found == 0
