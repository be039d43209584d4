"""A bag whose C-arm, or whose table, is on /tf gives what the same bag gives with imager poses."""

import csv

import numpy as np
import pytest
from bags import (
    FIXED,
    IMAGER,
    SETTINGS,
    by_tf,
    changed,
    looped,
    messages_of,
    placed,
    read,
    replayed,
    transforms,
)

pytest.importorskip('diffdrr.renderers')

from sph_reg_ros.messages.conversions import matrix_from_pose, nanoseconds, pose_from_matrix
from sph_reg_ros.messages.conversions import transform_message as transform
from sph_reg_ros.replay.bag_messages import bag_message
from sph_reg_ros.replay.bag_reader import opened
from sph_reg_ros.replay.bag_writer import new_bag
from sph_reg_ros.service.parameters import ImagerPoseParameters, NodeParameters

BY_TF = ('--param', 'imager_pose.source:=tf', '--param', f'imager_pose.fixed_frame:={FIXED}')


@pytest.fixture(scope='module')
def tf_bag(bag, tmp_path_factory):
    return by_tf(bag, tmp_path_factory.mktemp('tf') / 'bag')


def poses(folder) -> np.ndarray:
    with (folder / 'poses.csv').open() as file:
        names = ('x_m', 'y_m', 'z_m', 'qx', 'qy', 'qz', 'qw', 'start_mtre_mm', 'mtre_mm')
        return np.array([[float(row[name]) for name in names] for row in csv.DictReader(file)])


def test_a_c_arm_on_tf_gives_the_poses_and_transforms_of_one_with_imager_poses(
    tf_bag, ct, tmp_path, replay_folder
):
    done = replayed(tf_bag, ct, tmp_path / 'out', '--truth', 'ground_truth', *SETTINGS, *BY_TF)
    assert done.exit_code == 0, done.output
    assert np.allclose(poses(tmp_path / 'out'), poses(replay_folder), atol=1e-3)
    sent, expected = (messages_of(f / 'bag', '/tf') for f in (tmp_path / 'out', replay_folder))
    assert len(sent) == len(expected)
    assert {t.header.frame_id for tf in sent for t in tf.transforms[:1]} <= {FIXED}


def test_the_simulator_tells_its_c_arm_on_tf_too(bag, ct, tmp_path, replay_folder):
    replayed(bag, ct, tmp_path / 'out', '--truth', 'ground_truth', *SETTINGS, *BY_TF)
    assert np.allclose(poses(tmp_path / 'out'), poses(replay_folder), atol=1e-3)


def test_without_transforms_each_image_is_refused_with_frames_and_stamp(bag, ct, tmp_path):
    without = changed(bag, tmp_path / 'without', lambda entry: entry.topic != '/tf')
    done = replayed(without, ct, tmp_path / 'out', *SETTINGS, *BY_TF)
    assert done.exit_code < 2, done.output
    with (tmp_path / 'out' / 'poses.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert rows and all(row['reason'].startswith('IMAGER_POSE_MISSING') for row in rows), rows
    assert all(FIXED in row['reason'] and IMAGER in row['reason'] for row in rows), done.output


def test_transforms_that_end_before_the_image_are_not_extended(tf_bag, ct, tmp_path):
    stamps = [nanoseconds(m.header.stamp) for m in messages_of(tf_bag, '/image')]

    def before_the_last(entry):
        if entry.topic != '/tf':
            return None
        return nanoseconds(entry.message.transforms[0].header.stamp) < stamps[-1]

    short = changed(tf_bag, tmp_path / 'short', before_the_last)
    replayed(short, ct, tmp_path / 'out', *SETTINGS, *BY_TF)
    with (tmp_path / 'out' / 'poses.csv').open() as file:
        *others, last = csv.DictReader(file)
    assert last['reason'].startswith('IMAGER_POSE_MISSING') and 'newest' in last['reason']
    assert not any(row['reason'].startswith('IMAGER_POSE_MISSING') for row in others)


def test_an_initial_pose_on_the_table_is_found_by_a_static_transform(
    bag, ct, tmp_path, replay_folder
):
    table = placed(100, 200, -300, 1.0, 0.2, -0.4)

    def to_table(entry):
        if entry.topic == '/initial_pose':
            entry.message.header.frame_id = 'table'
            pose = np.linalg.inv(table) @ matrix_from_pose(entry.message.pose.pose)
            entry.message.pose.pose = pose_from_matrix(pose, bag_message)

    moved = changed(bag, tmp_path / 'moved', to_table)
    with new_bag(tmp_path / 'bag', 'mcap') as writer:
        for entry in read(moved):
            writer.write(entry.topic, entry.message, entry.received_ns)
        link = transform(table, FIXED, 'table', 1, bag_message)
        writer.write('/tf_static', transforms(link), entry.received_ns)
    done = replayed(tmp_path / 'bag', ct, tmp_path / 'out', '--truth', 'ground_truth', *SETTINGS)
    assert done.exit_code == 0, done.output
    assert np.allclose(poses(tmp_path / 'out'), poses(replay_folder), atol=1e-3)
    refused = replayed(moved, ct, tmp_path / 'without', *SETTINGS)
    assert 'TRANSFORM_MISSING' in (tmp_path / 'without' / 'poses.csv').read_text(), refused.output


def test_transforms_are_read_only_where_they_are_needed_and_belong_to_their_run(
    bag, tf_bag, tmp_path
):
    with opened(bag, {}) as inputs:
        assert not {event.name for event in inputs.events()} & {'tf', 'tf_static'}
    parameters = NodeParameters(imager_pose=ImagerPoseParameters('tf', FIXED))
    twice = looped(tf_bag, tmp_path / 'twice', lambda entry: None)
    with opened(twice, {}, parameters) as inputs:
        events = list(inputs.events())
    found = {event.name for event in events}
    assert {'tf', 'tf_static'} <= found and events[0].name in ('tf_static', 'initial_pose')
    counts = [sum(e.name == 'tf' for e in events if e.run == run) for run in (0, 1)]
    assert counts == [inputs.images, inputs.images]
