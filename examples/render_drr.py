"""Render a CT as an X-ray, with its derivative by the pose."""

import numpy as np
from PIL import Image
from simulated_carm import CAMERA, VOLUME, pose_at

import sph_reg_ros as sph

pose = pose_at(primary_deg=20, secondary_deg=5)
image, jacobian = sph.render_with_jacobian(VOLUME, pose, CAMERA.K, CAMERA.size)
print(f'line integrals {tuple(image.shape)}, by 3 turns and 3 shifts {tuple(jacobian.shape)}')

grey = 255 * (1 - image / image.max()).numpy()
Image.fromarray(grey.astype(np.uint8)).save('drr.png')
