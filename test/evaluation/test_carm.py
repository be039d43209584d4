"""The simulated C-arm: orbit, encoder errors within their limits, poses that fit together."""

import math

import numpy as np
import pytest
import torch

pytest.importorskip('diffdrr.renderers')

from sph_reg_ros.errors import ConfigError
from sph_reg_ros.evaluation.carm import CArm, CArmGeometry, EncoderError, Orbit
from sph_reg_ros.evaluation.metrics import rotation_error_deg
from sph_reg_ros.evaluation.simulation import Patient
from sph_reg_ros.geometry import se3
from sph_reg_ros.geometry.carm import angles_from_camera_from_ct

ISOCENTRE_MM = torch.tensor([30.0, -20.0, -150.0], dtype=torch.float64)
SMALL = CArmGeometry(height=12, width=16, pixel_pitch_mm=20.0)


def carm(error: EncoderError | None = None, seed: int = 0) -> CArm:
    """Return a C-arm with a small box of water around its isocentre."""
    affine = torch.diag(torch.tensor([10.0, 10.0, 10.0, 1.0], dtype=torch.float64))
    affine[:3, 3] = ISOCENTRE_MM - 25.0
    patient = Patient(torch.ones(6, 6, 6), affine)
    return CArm(patient, ISOCENTRE_MM, SMALL, Orbit(), error or EncoderError(), seed=seed)


def test_an_orbit_goes_evenly_to_its_end_and_back():
    orbit = Orbit(-40.0, 50.0, 10.0, steps=4)
    primary_deg = [math.degrees(orbit.angles_rad(i)[0]) for i in range(8)]
    assert primary_deg == pytest.approx([-40, -10, 20, 50, 20, -10, -40, -10])
    assert math.degrees(orbit.angles_rad(3)[1]) == pytest.approx(10.0)


def test_an_orbit_of_one_step_stays():
    assert Orbit(7.0, 50.0, 0.0, steps=1).angles_rad(5)[0] == pytest.approx(math.radians(7.0))


def test_encoder_errors_keep_within_their_limits_and_reach_towards_them():
    pivot = torch.tensor([100.0, 200.0, 900.0], dtype=torch.float64)
    generator = np.random.default_rng(0)
    identity = torch.eye(4, dtype=torch.float64)
    errors = [EncoderError(10.0, 5.0).sample(pivot, generator) for _ in range(300)]
    shifts = [float((se3.transform_points(e, pivot[None])[0] - pivot).norm()) for e in errors]
    angles = [rotation_error_deg(e, identity) for e in errors]
    assert 9.5 < max(shifts) <= 10.0
    assert 4.75 < max(angles) <= 5.0
    assert min(shifts) < 1.0
    assert np.median(angles) == pytest.approx(2.5, abs=0.4)


def test_without_encoder_errors_the_reported_poses_fit_the_truth():
    arm = carm(EncoderError(0.0, 0.0))
    exposure = arm.expose(3)
    camera_from_ct = se3.inverse(exposure.fixed_from_camera) @ arm.fixed_from_ct
    torch.testing.assert_close(camera_from_ct, exposure.camera_from_ct)
    assert angles_from_camera_from_ct(camera_from_ct) == pytest.approx(arm.orbit.angles_rad(3))


def test_every_image_has_another_error_that_depends_on_the_seed_alone():
    arm = carm()
    second, first, second_again = arm.expose(1), arm.expose(0), carm().expose(1)
    torch.testing.assert_close(second.fixed_from_camera, second_again.fixed_from_camera)
    np.testing.assert_array_equal(second.counts, second_again.counts)
    wrong = [
        exposure.camera_from_ct @ se3.inverse(arm.fixed_from_ct) @ exposure.fixed_from_camera
        for exposure in (first, second, carm(seed=1).expose(1))
    ]
    assert (wrong[0] - wrong[1]).abs().max() > 0.01
    assert (wrong[1] - wrong[2]).abs().max() > 0.01


def test_the_patient_is_no_identity_in_the_fixed_frame():
    pose = carm().fixed_from_ct
    assert pose[:3, :3].abs().max() < 0.999
    se3.require_rigid(pose, 'fixed_from_ct')


@pytest.mark.parametrize(
    'build',
    [
        lambda: CArmGeometry(sdd_mm=500.0, source_to_isocentre_mm=700.0),
        lambda: Orbit(steps=0),
        lambda: EncoderError(max_rotation_deg=-1.0),
    ],
)
def test_settings_out_of_range_are_refused(build):
    with pytest.raises(ConfigError):
        build()


def test_poses_without_an_image_are_those_of_the_image():
    arm = carm(seed=4)
    exposure, (truth, fixed_from_camera) = arm.expose(2), arm.poses(2)
    torch.testing.assert_close(truth, exposure.camera_from_ct)
    torch.testing.assert_close(fixed_from_camera, exposure.fixed_from_camera)
