"""Register two X-rays whose imager poses are known: depth is as certain as the rest."""

from simulated_carm import VOLUME, expose, pose_at

import sph_reg_ros as sph
from sph_reg_ros.geometry import se3
from sph_reg_ros.geometry.box import mean_distance_mm

poses = [pose_at(primary_deg=0), pose_at(primary_deg=80)]
# The fixed frame of this C-arm is the CT's, so that its poses tell the truth.
views = tuple(sph.view_of(expose(pose), fixed_from_camera=se3.inverse(pose)) for pose in poses)

start = pose_at(primary_deg=5, right_mm=8)
for number in (1, 2):
    result = sph.register(sph.RegistrationRequest(VOLUME, views[:number], start))
    error_mm = mean_distance_mm(result.camera_from_ct[0], poses[0], VOLUME.corners)
    bound_mm = result.verification.tre_p95_mm
    print(f'{number}: {result.verdict.name}, {error_mm:.2f} mm, bound {bound_mm:.2f} mm')
