"""Which camera and imager pose belong to an image."""

import pytest

from sph_reg_ros.errors import ErrorCode
from sph_reg_ros.messages.matching import Matcher, Sample

SECOND = 1_000_000_000
T0 = 100 * SECOND


def sample(offset_s: float, value: str, frame: str = 'imager', size=(4, 6)) -> Sample:
    return Sample(T0 + round(offset_s * SECOND), frame, value, size)


@pytest.fixture
def matcher() -> Matcher:
    return Matcher(0.02, 1.0, needs_imager_pose=True)


def test_an_image_is_matched_once_its_companions_are_there_in_whatever_order(matcher):
    matcher.add_image(sample(0, 'image'), 0.0)
    assert matcher.poll(0.0) == []
    matcher.add_imager_pose(sample(0, 'pose', 'base'))
    assert matcher.poll(0.0) == []
    matcher.add_camera(sample(0, 'camera'))
    (match,) = matcher.poll(0.0)
    assert (match.image.value, match.camera.value, match.imager_pose.value, match.error) == (
        'image',
        'camera',
        'pose',
        None,
    )
    assert matcher.poll(0.0) == []


def test_the_companions_closest_in_time_are_taken(matcher):
    for offset in (-0.5, -0.015, -0.004, 0.01, 0.5):
        matcher.add_camera(sample(offset, f'{offset}'))
        matcher.add_imager_pose(sample(offset, f'{offset}', 'base'))
    matcher.add_image(sample(0, 'image'), 0.0)
    (match,) = matcher.poll(0.0)
    assert (match.camera.value, match.imager_pose.value) == ('-0.004', '-0.004')


def test_a_pose_before_the_image_waits_for_a_closer_one_behind_it(matcher):
    matcher.add_camera(sample(0, 'camera'))
    matcher.add_imager_pose(sample(-0.015, 'before', 'base'))
    matcher.add_image(sample(0, 'image'), 0.0)
    assert matcher.poll(0.0) == []
    matcher.add_imager_pose(sample(0.005, 'behind', 'base'))
    assert matcher.poll(0.001)[0].imager_pose.value == 'behind'


def test_a_pose_before_the_image_serves_if_no_closer_one_comes(matcher):
    matcher.add_camera(sample(0, 'camera'))
    matcher.add_imager_pose(sample(-0.015, 'before', 'base'))
    matcher.add_image(sample(0, 'image'), 0.0)
    assert matcher.poll(0.03)[0].imager_pose.value == 'before'


@pytest.mark.parametrize(
    ('camera', 'pose', 'code'),
    [
        (None, sample(0, 'pose', 'base'), ErrorCode.CAMERA_MISSING),
        (sample(0, 'camera', 'other'), sample(0, 'pose', 'base'), ErrorCode.CAMERA_MISSING),
        (sample(0, 'camera'), None, ErrorCode.IMAGER_POSE_MISSING),
        (sample(0, 'camera'), sample(0.05, 'pose', 'base'), ErrorCode.IMAGER_POSE_MISSING),
    ],
)
def test_what_is_missing_is_named_after_the_timeout_and_not_before(matcher, camera, pose, code):
    if camera:
        matcher.add_camera(camera)
    if pose:
        matcher.add_imager_pose(pose)
    matcher.add_image(sample(0, 'image'), 0.0)
    assert matcher.poll(0.99) == []
    (match,) = matcher.poll(1.0)
    assert match.error.code == code


def test_an_old_camera_of_the_same_frame_and_size_serves_after_the_timeout_with_a_warning(matcher):
    matcher.add_camera(sample(-60, 'camera'))
    matcher.add_imager_pose(sample(0, 'pose', 'base'))
    matcher.add_image(sample(0, 'image'), 0.0)
    assert matcher.poll(0.5) == []
    (match,) = matcher.poll(1.0)
    assert match.camera.value == 'camera' and '60.000 s older' in match.warnings[0]


def test_an_old_camera_of_another_size_does_not_serve(matcher):
    matcher.add_camera(sample(-60, 'camera', size=(6, 4)))
    matcher.add_imager_pose(sample(0, 'pose', 'base'))
    matcher.add_image(sample(0, 'image'), 0.0)
    assert matcher.poll(1.0)[0].error.code == ErrorCode.CAMERA_MISSING


def test_a_camera_without_stamp_is_timeless(matcher):
    matcher.add_camera(Sample(0, 'imager', 'camera', (4, 6)))
    matcher.add_imager_pose(sample(0, 'pose', 'base'))
    matcher.add_image(sample(0, 'image'), 0.0)
    assert matcher.poll(0.0)[0].camera.value == 'camera'


def test_without_imager_pose_the_camera_is_enough():
    matcher = Matcher(0.02, 1.0, needs_imager_pose=False)
    matcher.add_camera(sample(0, 'camera'))
    matcher.add_image(sample(0, 'image'), 0.0)
    assert matcher.poll(0.0)[0].imager_pose is None


def test_images_that_come_faster_than_their_companions_do_not_starve(matcher):
    for index in range(3):
        matcher.add_image(sample(index * 0.1, f'image {index}'), index * 0.1)
        matcher.poll(index * 0.1)
    for index in range(3):
        matcher.add_camera(sample(index * 0.1, 'camera'))
        matcher.add_imager_pose(sample(index * 0.1, 'pose', 'base'))
    assert [m.image.value for m in matcher.poll(0.3)] == ['image 0', 'image 1', 'image 2']


def test_buffers_are_bounded_and_count_what_they_drop(matcher):
    for index in range(Matcher.MAX_IMAGES + 3):
        matcher.add_image(sample(index, f'{index}'), 0.0)
    assert matcher.dropped == 3
    assert [match.image.value for match in matcher.poll(1.0)] == ['0', '1', '2', '6']


def test_a_camera_that_is_published_once_serves_images_at_15_hz():
    matcher = Matcher(0.02, 1.0, needs_imager_pose=False)
    matcher.add_camera(sample(0, 'camera'))
    matched = []
    for index in range(1, 75):
        matcher.add_image(sample(index / 15, f'image {index}'), index / 15)
        matched += [match for match in matcher.poll(index / 15) if match.camera is not None]
    # Each of them waited for a camera of its own for a second.
    assert len(matched) >= 4
    assert all('or one with stamp 0' in match.warnings[0] for match in matched)


def test_an_image_whose_companions_come_after_a_newer_one_has_left_is_dropped(matcher):
    matcher.add_image(sample(0.0, 'old'), 0.0)
    matcher.add_image(sample(0.1, 'new'), 0.1)
    for offset_s in (0.1, 0.0):
        matcher.add_camera(sample(offset_s, 'camera'))
        matcher.add_imager_pose(sample(offset_s, 'pose', 'base'))
        left = [match.image.value for match in matcher.poll(0.2)]
        assert left == (['new'] if offset_s else [])
    assert matcher.dropped == 1


def test_a_newer_image_that_lacks_something_does_not_hold_an_older_one_back(matcher):
    matcher.add_image(sample(0.1, 'without'), 0.0)
    assert matcher.poll(1.0)[0].error is not None
    matcher.add_image(sample(0.0, 'with'), 1.0)
    matcher.add_camera(sample(0.0, 'camera'))
    matcher.add_imager_pose(sample(0.0, 'pose', 'base'))
    assert [match.image.value for match in matcher.poll(1.0)] == ['with']


def test_a_jump_back_in_time_forgets_what_was_before(matcher):
    matcher.add_camera(sample(10, 'old camera'))
    matcher.add_imager_pose(sample(10, 'old pose', 'base'))
    matcher.add_image(sample(10.1, 'old image'), 0.0)
    matcher.add_image(sample(0, 'image'), 0.5)
    matcher.add_imager_pose(sample(0, 'pose', 'base'))
    matcher.add_camera(sample(0, 'camera'))
    (match,) = matcher.poll(0.5)
    assert (match.image.value, match.camera.value, match.imager_pose.value) == (
        'image',
        'camera',
        'pose',
    )
