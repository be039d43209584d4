"""sph-reg simulate: a rehearsal in a bag, with the truth."""

import numpy as np
import pytest
from bags import messages_of, read, run, simulated
from body_files import write_bodies
from ct_files import Phantom, write_volume

pytest.importorskip('diffdrr.renderers')

from sph_reg_ros.evaluation.carm import Orbit
from sph_reg_ros.imaging.attenuation import attenuation_from_hounsfield
from sph_reg_ros.imaging.load import load_ct
from sph_reg_ros.messages.conversions import matrix_from_pose, nanoseconds
from sph_reg_ros.messages.image_conversions import array_from_image
from sph_reg_ros.replay.simulated_run import Rehearsal, Tour


def stamps(messages) -> list[int]:
    return [nanoseconds(message.header.stamp) for message in messages]


def test_the_same_seed_gives_the_same_bag_and_another_one_another(ct, bag, tmp_path):
    def content(path):
        return [(entry.topic, entry.received_ns, entry.raw) for entry in read(path)]

    again = simulated(ct, tmp_path / 'again', storage='sqlite3')
    assert content(again) == content(bag)
    other = simulated(ct, tmp_path / 'other', '--seed', 1)
    assert content(other) != content(bag)


def test_every_image_comes_with_camera_imager_pose_truth_and_transform(bag):
    images = stamps(messages_of(bag, '/image'))
    assert len(images) == 3
    for topic in ('/camera_info', '/imager_pose', '/ground_truth'):
        assert set(images) <= set(stamps(messages_of(bag, topic)))
    transforms = [t for message in messages_of(bag, '/tf') for t in message.transforms]
    assert set(images) <= {nanoseconds(t.header.stamp) for t in transforms}


def test_the_imager_moves_between_the_shots(bag):
    first, second = stamps(messages_of(bag, '/image'))[:2]
    poses = {
        nanoseconds(m.header.stamp): matrix_from_pose(m.pose)[:3, 3]
        for m in messages_of(bag, '/imager_pose')
    }
    between = [stamp for stamp in poses if first < stamp < second]
    assert len(between) > 10
    whole = np.linalg.norm(poses[second] - poses[first])
    steps = np.diff([poses[stamp] for stamp in sorted((first, *between, second))], axis=0)
    assert max(np.linalg.norm(steps, axis=1)) < 0.2 * whole


def test_reported_and_true_poses_differ_by_the_encoder_error(bag):
    initial = matrix_from_pose(messages_of(bag, '/initial_pose')[0].pose.pose)
    truth, imager = messages_of(bag, '/ground_truth')[0], messages_of(bag, '/imager_pose')[0]
    start = np.linalg.inv(matrix_from_pose(imager.pose)) @ initial
    assert 1e-3 < np.linalg.norm(start - matrix_from_pose(truth.pose)) < 50


def test_an_instrument_lies_in_the_beam_in_the_second_half(ct, bag, tmp_path):
    without = simulated(ct, tmp_path / 'without', '--no-instrument')
    pairs = zip(messages_of(bag, '/image'), messages_of(without, '/image'), strict=True)
    differ = [
        not np.array_equal(array_from_image(first), array_from_image(second))
        for first, second in pairs
    ]
    assert differ == [False, True, True]


def test_images_are_what_a_display_shows_if_asked_for(ct, bag, tmp_path):
    shown = simulated(ct, tmp_path / 'shown', '--display', 'inverted')
    pairs = zip(messages_of(shown, '/image'), messages_of(bag, '/image'), strict=True)
    for display, detector in pairs:
        assert (display.encoding, detector.encoding) == ('mono8', 'mono16')
        images = [array_from_image(image).astype(float).ravel() for image in (display, detector)]
        assert np.corrcoef(images[0], np.log1p(images[1]))[0, 1] < -0.8
    truths = [
        [matrix_from_pose(message.pose) for message in messages_of(path, '/ground_truth')]
        for path in (shown, bag)
    ]
    assert np.array_equal(*truths)


def test_dropped_images_leave_their_truth_and_the_first_one_never_drops():
    rehearsal = Rehearsal(tour=Tour(Orbit(steps=300), 0), dropped_share=0.3)
    assert 60 < len(rehearsal.dropped()) < 120
    assert 0 not in rehearsal.dropped()
    assert Rehearsal(dropped_share=0.0).dropped() == frozenset()


def test_a_dropped_image_is_missing_from_the_bag_but_not_its_truth(ct, tmp_path):
    path = simulated(ct, tmp_path / 'run', '--dropped', 0.9)
    assert len(messages_of(path, '/ground_truth')) == 3
    assert 1 <= len(messages_of(path, '/image')) < 3


def test_angled_views_follow_the_orbit():
    tour = Tour(Orbit(-40.0, 40.0, 0.0, steps=3), angled=2)
    assert tour.images == 5
    angles = [np.degrees(tour.angles_rad(index)).round(6).tolist() for index in range(5)]
    assert angles == [[-40, 0], [0, 0], [40, 0], [-30, 20], [30, -20]]


@pytest.mark.parametrize(
    'options',
    [
        ('--storage', 'tape'),
        ('--dropped', '2'),
        ('--size', '1'),
        ('--rate', '0'),
        ('--display', 'rotated'),
    ],
)
def test_settings_out_of_range_are_refused(ct, tmp_path, options):
    done = run('simulate', '--ct', ct, '--output', tmp_path / 'bag', *options)
    assert done.exit_code == 2 and 'CONFIG_INVALID' in done.stderr
    assert not (tmp_path / 'bag').exists()


def test_an_existing_folder_is_never_overwritten(ct, bag):
    done = run('simulate', '--ct', ct, '--output', bag)
    assert done.exit_code == 2 and 'exists already' in done.stderr


def test_bodies_move_from_image_to_image_and_the_bag_says_how(ct, tmp_path):
    volume = attenuation_from_hounsfield(load_ct(ct))
    bone = (volume.mu > 0.03).numpy().astype(np.int16)
    write_volume(tmp_path / 'bone.nii.gz', Phantom(bone, volume.ct_from_index.numpy()))
    entry = {'name': 'bone', 'source': 'bone.nii.gz', 'prior': {'translation_mm': 8.0}}
    moved = simulated(ct, tmp_path / 'moved', '--bodies', write_bodies(tmp_path, entry))
    truths = [matrix_from_pose(m.pose) for m in messages_of(moved, '/ground_truth/bone')]
    patient = [matrix_from_pose(m.pose) for m in messages_of(moved, '/ground_truth')]
    assert len(truths) == len(patient) == 3
    motions = [np.linalg.inv(rest) @ body for rest, body in zip(patient, truths, strict=True)]
    assert all(np.abs(motion - np.eye(4)).max() > 1e-3 for motion in motions)
    assert np.abs(motions[0] - motions[1]).max() > 1e-3
