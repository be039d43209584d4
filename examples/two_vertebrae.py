"""Find two vertebrae that have moved since the CT, each with a pose of its own."""

from simulated_carm import CT, VOLUME, expose, pose_at

import sph_reg_ros as sph
from sph_reg_ros.evaluation.moving_bodies import BodyMotion
from sph_reg_ros.geometry import se3

with open('bodies.yaml', 'w') as file:
    file.write(f'source: {sph.sample_ct_path().with_name("mask.nii.gz")}\nbodies:\n')
    file.write('  - {name: T8, label: vertebrae_T8}\n')
    file.write('  - {name: T9, label: vertebrae_T9, parent: T8}\n')
bodies = sph.load_bodies('bodies.yaml', VOLUME)

motion = BodyMotion(CT, bodies)
moved = sph.attenuation_from_hounsfield(motion.moved_ct(1))
poses = [pose_at(primary_deg=0), pose_at(primary_deg=80)]
views = tuple(
    sph.view_of(expose(pose, volume=moved), fixed_from_camera=se3.inverse(pose)) for pose in poses
)
result = sph.register(sph.RegistrationRequest(VOLUME, views, poses[0], bodies=bodies))
for body in result.bodies:
    wrong = se3.inverse(motion.moved_from_rest(1)[body.name]) @ body.moved_from_rest
    print(f'{body.name}: {body.verdict.name}, moved by {body.translation_mm:.1f} mm,', end=' ')
    print(f'found with an error of {float(se3.log(wrong)[:3].norm()):.4f} rad')
