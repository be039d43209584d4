import math

import numpy as np
import pytest
import torch
from body_files import attenuation, ct_phantom, label_phantom, write_bodies, write_labels

from sph_reg_ros.evaluation.moving_bodies import PERIOD, BodyMotion, moved_ct
from sph_reg_ros.geometry import se3
from sph_reg_ros.imaging.ct.volume import CT
from sph_reg_ros.imaging.load_bodies import load_bodies


@pytest.fixture
def motion(tmp_path):
    write_labels(tmp_path)
    phantom = ct_phantom()
    prior = {'rotation_deg': 8.0, 'translation_mm': 3.0}
    named = {'source': 'labels.nii.gz', 'prior': prior}
    bodies = load_bodies(
        write_bodies(
            tmp_path,
            {**named, 'name': 'S1', 'label': 26},
            {**named, 'name': 'L3', 'label': 29, 'parent': 'S1'},
        ),
        attenuation(),
    )
    return BodyMotion(CT(phantom.hounsfield, phantom.ct_from_index, 'hash'), bodies)


def test_a_ct_whose_bodies_have_not_moved_is_itself(motion):
    still = {body.name: torch.eye(4, dtype=torch.float64) for body in motion.bodies}
    found = moved_ct(motion.ct, motion.bodies, still)
    np.testing.assert_allclose(found.hounsfield, motion.ct.hounsfield, atol=0.1)


def test_a_body_is_where_it_moved_to_and_muscle_is_where_it_was(motion):
    # By whole voxels along i, which runs to the right, so that nothing is interpolated.
    moved = {body.name: torch.eye(4, dtype=torch.float64) for body in motion.bodies}
    moved['L3'][0, 3] = -3 * 1.2
    found = moved_ct(motion.ct, motion.bodies, moved).hounsfield
    label = label_phantom().hounsfield == 29
    there = np.roll(label, 3, axis=2)
    np.testing.assert_allclose(found[there], 900, atol=0.5)
    np.testing.assert_allclose(found[label & ~there], 40, atol=0.5)
    np.testing.assert_allclose(
        found[~label & ~there], motion.ct.hounsfield[~label & ~there], atol=1
    )


def test_bodies_swing_within_their_priors_and_children_go_with_their_parents(motion):
    farthest = {'S1': 0.0, 'L3': 0.0}
    for index in range(PERIOD):
        moved = motion.moved_from_rest(index)
        own = {'S1': moved['S1'], 'L3': se3.inverse(moved['S1']) @ moved['L3']}
        for body in motion.bodies:
            centre = body.volume.centre[None]
            shift = float((se3.transform_points(own[body.name], centre) - centre).norm())
            angle = math.degrees(float(se3.log(own[body.name])[:3].norm()))
            assert shift <= 3.0 + 1e-6 and angle <= 8.0 + 1e-6
            farthest[body.name] = max(farthest[body.name], shift)
    assert min(farthest.values()) > 2.0
    assert torch.equal(motion.moved_from_rest(0)['L3'], motion.moved_from_rest(0)['L3'])
    assert not torch.allclose(motion.moved_from_rest(1)['L3'], motion.moved_from_rest(0)['L3'])
