"""Follow a patient that moves 2 mm from frame to frame."""

from simulated_carm import VOLUME, expose, pose_at

import sph_reg_ros as sph
from sph_reg_ros.geometry.box import mean_distance_mm

tracker = sph.Tracker(VOLUME, sph.ViewMaker(sph.IntensityModel()))
for number in range(5):
    truth = pose_at(primary_deg=0, right_mm=2.0 * number)
    xray = expose(truth, seed=number)
    result = tracker.track(sph.Frame(xray.pixels, xray.camera, time_s=number / 15))
    error_mm = mean_distance_mm(result.camera_from_ct[0], truth, VOLUME.corners)
    print(f'frame {number}: {result.verdict.name}, {error_mm:.2f} mm')
