"""Register one X-ray of which nothing is known but its camera."""

from simulated_carm import VOLUME, expose, pose_at

import sph_reg_ros as sph
from sph_reg_ros.geometry.box import mean_distance_mm

truth = pose_at(primary_deg=-35, secondary_deg=10, right_mm=15)
result = sph.register(sph.RegistrationRequest(VOLUME, (sph.view_of(expose(truth)),)))

error_mm = mean_distance_mm(result.camera_from_ct[0], truth, VOLUME.corners)
bound_mm = result.verification.tre_p95_mm
print(f'{result.verdict.name}: {error_mm:.2f} mm from the truth, bound {bound_mm:.2f} mm')
