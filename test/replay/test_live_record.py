"""What the live node cannot be asked is refused before it is asked."""

import pytest
from bags import looped

pytest.importorskip('diffdrr.renderers')

from sph_reg_ros.errors import BagError, PoseError
from sph_reg_ros.replay.bag_reader import opened
from sph_reg_ros.replay.live_record import LiveRecord
from sph_reg_ros.replay.params_file import read_parameters


def test_a_bag_that_starts_again_is_not_for_the_live_node(bag, ct, tmp_path):
    parameters = read_parameters(None, fixed={'ct.path': str(ct)})
    path = looped(bag, tmp_path / 'bag', lambda entry: None)
    with opened(path, {}) as inputs, pytest.raises(BagError, match='sph-reg replay takes all'):
        LiveRecord(inputs, path, parameters, '', tmp_path / 'out')


def test_a_truth_that_is_of_no_image_is_refused_live_too(bag, ct, tmp_path):
    parameters = read_parameters(None, fixed={'ct.path': str(ct)})
    (tmp_path / 'truth.tum').write_text('1.0 0 0 0.7 0 0 0 1\n')
    with opened(bag, {}) as inputs, pytest.raises(PoseError, match='no image has a pose'):
        LiveRecord(inputs, bag, parameters, str(tmp_path / 'truth.tum'), tmp_path / 'out')


@pytest.mark.parametrize('name', ['record.json', 'metrics.json', 'bag'])
def test_a_folder_with_a_replay_is_not_overwritten_live_either(bag, ct, tmp_path, name):
    (tmp_path / name).touch()
    parameters = read_parameters(None, fixed={'ct.path': str(ct)})
    with opened(bag, {}) as inputs, pytest.raises(BagError, match='holds a replay already'):
        LiveRecord(inputs, bag, parameters, '', tmp_path)
