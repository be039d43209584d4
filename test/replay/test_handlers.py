"""Bad messages in a bag meet the same checks as in the live node."""

import numpy as np
import pytest
from bags import IMAGES, SETTINGS, changed, looped, messages_of

pytest.importorskip('diffdrr.renderers')

from sph_reg_ros.replay.bag_replay import ReplayJob, replay
from sph_reg_ros.replay.params_file import read_parameters
from sph_reg_ros.service.session import RegistrationSession


@pytest.fixture
def registered(bag, ct, tmp_path):
    """Replay the first two images of a bag that was changed on the way."""

    def rows(change, *parameters):
        given = [word for word in SETTINGS if ':=' in word]
        settings = read_parameters(None, [*given, f'ct.path:={ct}', *parameters])
        images = []

        def change_two(entry):
            if entry.topic == '/image':
                images.append(entry)
            return False if len(images) > 2 else change(entry)

        spoilt = changed(bag, tmp_path / 'spoilt', change_two)
        return replay(ReplayJob(spoilt, tmp_path / 'out', settings)).rows

    return rows


def first(topic, spoil):
    """Return a change of the first message of a topic only."""
    seen = []

    def change(entry):
        if entry.topic == topic and not seen:
            seen.append(entry)
            return spoil(entry.message)
        return None

    return change


def every(topic, spoil):
    return lambda entry: spoil(entry.message) if entry.topic == topic else None


def before_1970(image):
    image.header.stamp.sec = -1


def set_encoding(image):
    image.encoding = 'bayer_rggb8'


def cut_data(image):
    image.data = image.data[:-2]


def no_frame(image):
    image.header.frame_id = ''


def no_focus(info):
    info.k = np.zeros(9)


def wrong_size(info):
    info.width += 1


def no_rotation(pose):
    pose.pose.orientation.w = pose.pose.orientation.x = 5.0


@pytest.mark.parametrize(
    ('topic', 'spoil', 'code'),
    [
        ('/image', set_encoding, 'IMAGE_ENCODING'),
        ('/image', cut_data, 'IMAGE_LAYOUT'),
        ('/image', no_frame, 'IMAGE_LAYOUT'),
        ('/image', before_1970, 'IMAGE_LAYOUT'),
        ('/camera_info', no_focus, 'CAMERA_UNCALIBRATED'),
        ('/camera_info', wrong_size, 'CAMERA_IMAGE_MISMATCH'),
        ('/imager_pose', no_rotation, 'POSE_INVALID'),
    ],
)
def test_an_image_with_a_bad_message_is_refused_and_the_others_are_registered(
    registered, topic, spoil, code
):
    rows = registered(first(topic, spoil))
    assert [row.camera_from_ct is None for row in rows] == [True, False]
    assert rows[0].verdict == 'REJECTED' and rows[0].reason.startswith(code)


@pytest.mark.parametrize(
    ('error', 'text'), [(MemoryError(), 'out of memory'), (ValueError('odd'), 'ValueError: odd')]
)
def test_an_unexpected_error_is_the_refusal_of_its_image_alone(
    registered, monkeypatch, error, text
):
    handle, calls = RegistrationSession.handle, []

    def fails_once(self, request, report):
        calls.append(request)
        if len(calls) == 2:  # the first one loads the CT
            raise error
        return handle(self, request, report)

    monkeypatch.setattr(RegistrationSession, 'handle', fails_once)
    rows = registered(lambda entry: None)
    assert [row.camera_from_ct is None for row in rows] == [True, False]
    assert rows[0].reason.startswith('NUMERICAL') and text in rows[0].reason


def test_images_of_a_second_run_get_its_poses_truth_and_pictures(bag, ct, tmp_path):
    def moved(entry):
        if entry.topic in ('/imager_pose', '/ground_truth'):
            entry.message.pose.position.z += 0.04

    path = looped(bag, tmp_path / 'bag', moved)
    settings = read_parameters(None, [w for w in SETTINGS if ':=' in w], {'ct.path': str(ct)})
    rows = replay(ReplayJob(path, tmp_path / 'out', settings, 'ground_truth')).rows
    assert [row.run for row in rows] == [0] * IMAGES + [1] * IMAGES
    assert [row.number for row in rows] == list(range(1, 2 * IMAGES + 1))
    for first, second in zip(rows[:IMAGES], rows[IMAGES:], strict=True):
        assert first.stamp_ns == second.stamp_ns
        moved_mm = np.subtract(second.fixed_from_camera, first.fixed_from_camera)[:3, 3]
        assert moved_mm == pytest.approx([0, 0, 40])
        # The same image and start in the imager; a truth 40 mm farther away.
        assert abs(second.error.mtre_mm - first.error.mtre_mm) > 10
    assert len({name for row in rows for name in row.pictures.values()}) == 3 * len(rows)


def test_images_without_imager_pose_in_a_second_run_are_not_given_one_of_the_first(
    bag, ct, tmp_path
):
    path = looped(bag, tmp_path / 'bag', lambda entry: entry.topic != '/imager_pose')
    settings = read_parameters(None, [w for w in SETTINGS if ':=' in w], {'ct.path': str(ct)})
    rows = replay(ReplayJob(path, tmp_path / 'out', settings)).rows
    assert [row.camera_from_ct is not None for row in rows] == [True] * IMAGES + [False] * IMAGES
    assert all(row.reason.startswith('IMAGER_POSE_MISSING') for row in rows[IMAGES:])


def test_images_without_imager_pose_are_refused_one_by_one(registered):
    rows = registered(every('/imager_pose', lambda message: False))
    assert all(row.reason.startswith('IMAGER_POSE_MISSING') for row in rows)


def test_images_without_initial_pose_are_registered_all_the_same(registered):
    rows = registered(every('/initial_pose', lambda message: False))
    assert all(row.camera_from_ct is not None for row in rows)


def test_an_initial_pose_that_was_recorded_late_counts_from_the_beginning(bag, registered):
    last_ns = max(m.header.stamp.sec for m in messages_of(bag, '/image'))

    def late(message):
        message.header.stamp.sec = last_ns + 100

    assert all(row.camera_from_ct for row in registered(every('/initial_pose', late)))


def test_messages_take_their_turn_by_header_stamp_not_by_arrival(registered):
    def delayed(entry):
        if entry.topic in ('/imager_pose', '/camera_info'):
            entry.received_ns += 30_000_000_000

    assert all(row.camera_from_ct for row in registered(delayed))


def test_a_camera_that_is_known_once_serves_all_images_with_a_warning(registered):
    seen = []

    def once(entry):
        if entry.topic == '/camera_info':
            seen.append(entry)
            return len(seen) == 1
        return None

    rows = registered(once)
    assert all(row.camera_from_ct for row in rows)
    assert any('camera_info' in warning for warning in rows[1].warnings)
