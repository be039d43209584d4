"""A phantom that moves before the imager, or the imager before it."""

from dataclasses import replace

import pytest
import torch
from phantoms import pose_in_front, smooth_phantom
from registration_scenes import CAMERA, CONFIG, IN_PLANE_MM, errors, moved, xray

from sph_reg_ros.errors import ImageError
from sph_reg_ros.geometry import se3
from sph_reg_ros.imaging.xray.intensity import IntensityModel
from sph_reg_ros.registration.frame_views import Frame, FrameViews
from sph_reg_ros.registration.prepared_view import ViewMaker
from sph_reg_ros.registration.result import Verdict
from sph_reg_ros.registration.track import METHOD, Tracker
from sph_reg_ros.registration.tracking_config import TrackingConfig

VOLUME = smooth_phantom()
POSE = pose_in_front(VOLUME)
RATE_HZ = 15.0
# A frame's worth of 20 mm/s and 10 degrees/s.
STEP = torch.tensor([0.008, -0.006, 0.006, 0.9, 0.8, -0.5], dtype=torch.float64)
MAKER = ViewMaker(IntensityModel(), mask_collimator=False)


def new_tracker(**changes) -> Tracker:
    tracking = TrackingConfig(level=48, levels_after_gap=(24, 48))
    # Starts are near: to search around them would take most of the time.
    return Tracker(VOLUME, MAKER, replace(CONFIG, starts=0), replace(tracking, **changes))


def pose_at(number: float) -> torch.Tensor:
    return se3.apply_twist(number * STEP, POSE, VOLUME.centre)


def counts(pose: torch.Tensor, seed: int) -> torch.Tensor:
    return (50_000 * torch.exp(-xray(VOLUME, pose, noise=0.005, seed=seed))).round()


def frame(number: int, pose: torch.Tensor | None = None, **changes) -> Frame:
    pose = pose_at(number) if pose is None else pose
    start = moved(VOLUME, pose, 3, degrees=1.0, millimetres=2.0) if number == 0 else None
    seen = Frame(counts(pose, number), CAMERA, number / RATE_HZ, initial_camera_from_ct=start)
    return replace(seen, **changes)


def black(number: int) -> Frame:
    return frame(number, pixels=torch.zeros(CAMERA.size))


def assert_near(found, pose):
    in_plane, depth, degrees = errors(VOLUME, found.camera_from_ct[0], pose)
    assert in_plane < 3 * IN_PLANE_MM and depth < 3.0 and degrees < 1.0


def test_a_patient_who_moves_is_followed_back_to_a_frame_that_passed_all_checks():
    tracker = new_tracker()
    results = [tracker.track(frame(number)) for number in range(6)]
    for number, result in enumerate(results):
        assert_near(result, pose_at(number))
        assert result.verdict == Verdict.VERIFIED and result.frames_since_full_checks == number
    assert [result.method == METHOD for result in results] == [False, *[True] * 5]
    names = {check.name for check in results[-1].checks}
    assert {'jump_mm', 'misfit', 'remaining_step_mm', 'frames_since_full_checks'} <= names
    assert results[-1].verification.tre_p95_mm < CONFIG.max_tre_mm


def test_every_few_frames_one_passes_all_checks():
    tracker = new_tracker(full_checks_every=2)
    since = [tracker.track(frame(number)).frames_since_full_checks for number in range(4)]
    assert since == [0, 1, 0, 1]


def test_a_c_arm_that_jumps_moves_no_patient_if_its_pose_is_known():
    turn = torch.tensor([0.0, 0.12, 0.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    turned = se3.apply_twist(turn, POSE, VOLUME.centre)
    fixed = [se3.inverse(pose) for pose in (POSE, turned)]
    tracker = new_tracker()
    tracker.track(frame(0, fixed_from_camera=fixed[0]))
    followed = tracker.track(frame(1, turned, fixed_from_camera=fixed[1]))
    assert followed.method == METHOD and followed.verdict == Verdict.VERIFIED
    assert next(check.value for check in followed.checks if check.name == 'jump_mm') < 2.0
    assert_near(followed, turned)


def test_a_patient_who_jumps_is_registered_again_from_the_last_place():
    tracker = new_tracker()
    tracker.track(frame(0))
    tracker.config = CONFIG  # with a search
    jumped = tracker.track(frame(1, pose_at(12)))
    assert jumped.method != METHOD and jumped.frames_since_full_checks == 0
    assert jumped.verdict == Verdict.VERIFIED
    assert_near(jumped, pose_at(12))
    assert tracker.track(frame(2, pose_at(12))).method == METHOD


def test_after_an_image_that_is_refused_no_frame_passes_by_light_checks():
    tracker = new_tracker()
    tracker.follow(frame(0))
    assert tracker.follow(frame(1)).verdict == Verdict.VERIFIED
    with pytest.raises(ImageError):
        tracker.follow(black(2))
    doubted = tracker.follow(frame(3))
    assert_near(doubted, pose_at(3))
    assert doubted.verdict == Verdict.UNVERIFIED and doubted.frames_since_full_checks is None
    assert [check.name for check in doubted.checks if not check.passed] == [
        'frames_since_full_checks'
    ]
    assert 'followed' in str(doubted.finding.explanation)
    assert tracker.full_checks_due
    assert tracker.check_latest().verdict == Verdict.VERIFIED
    assert tracker.follow(frame(4)).frames_since_full_checks == 1


def test_after_a_pause_all_checks_have_to_be_passed_anew():
    tracker = new_tracker(max_gap_s=0.2)
    tracker.follow(frame(0))
    assert tracker.follow(frame(1)).verdict == Verdict.VERIFIED
    later = tracker.follow(frame(2, time_s=1.0))
    assert later.verdict == Verdict.UNVERIFIED and tracker.full_checks_due


def test_no_frame_is_verified_too_long_after_the_last_full_checks():
    tracker = new_tracker(max_frames=2)
    verdicts = [tracker.follow(frame(number)).verdict for number in range(4)]
    assert verdicts == [Verdict.VERIFIED] * 3 + [Verdict.UNVERIFIED]


def test_frames_are_followed_while_an_older_one_is_checked():
    tracker, waiting, meanwhile = new_tracker(full_checks_every=1), [2, 3], []

    def follow_next(progress):
        if waiting:
            meanwhile.append(tracker.follow(frame(waiting.pop(0))))

    tracker.follow(frame(0))
    tracker.follow(frame(1))
    assert tracker.full_checks_due
    checked = tracker.check_latest(follow_next)
    assert_near(checked, pose_at(1))
    assert [result.frames_since_full_checks for result in meanwhile] == [2, 3]
    assert tracker.follow(frame(4)).frames_since_full_checks == 3  # since frame 1


def test_checks_of_a_chain_that_broke_meanwhile_verify_nothing():
    tracker, waiting = new_tracker(full_checks_every=1), [black(2), frame(3)]

    def follow_next(progress):
        if waiting:
            try:
                tracker.follow(waiting.pop(0))
            except ImageError:
                pass

    tracker.follow(frame(0))
    tracker.follow(frame(1))
    assert tracker.check_latest(follow_next).verdict == Verdict.VERIFIED
    assert tracker.follow(frame(4)).verdict == Verdict.UNVERIFIED


def test_a_frame_of_nothing_like_the_ct_is_not_verified():
    tracker = new_tracker()
    tracker.track(frame(0))
    noise = torch.rand(CAMERA.size, generator=torch.Generator().manual_seed(0))
    other = torch.nn.functional.avg_pool2d(noise[None], 9, 1, 4)[0]
    result = tracker.track(frame(1, pixels=(50_000 * other).round()))
    assert result.method != METHOD and result.verdict != Verdict.VERIFIED
    assert tracker.track(frame(2)).verdict == Verdict.VERIFIED


def test_a_binned_frame_shows_what_the_whole_one_shows():
    views, seen = FrameViews(MAKER), frame(0)
    whole, small = views.whole(seen), views.small(seen, 48)
    assert small.camera.size == (48, 48)
    expected = torch.nn.functional.avg_pool2d(whole.line_integrals[None], 2)[0]
    difference = small.line_integrals - expected
    assert float((difference - difference.mean()).abs().max()) < 0.02 * float(expected.max())


def test_the_exposed_field_is_searched_for_once_unless_it_is_forgotten():
    noise = torch.rand(CAMERA.size, generator=torch.Generator().manual_seed(0))
    counts = (150 + 100 * noise).round()
    counts[12:84, 12:84] = frame(0).pixels[12:84, 12:84]
    views = FrameViews(replace(MAKER, mask_collimator=True))
    closed = frame(0, pixels=counts)
    assert views.whole(frame(0)).mask is None
    assert views.whole(closed).mask is None
    views.forget_field()
    mask = views.whole(closed).mask
    assert mask is not None and not bool(mask[:12].any()) and bool(mask[20:76, 20:76].all())


def test_poses_stay_rigid_however_long_a_stream_is():
    tracker = new_tracker(full_checks_every=1000)
    seen = [frame(0), frame(1)]
    for number in range(45):
        result = tracker.follow(replace(seen[number % 2], time_s=number / RATE_HZ))
    rotation = result.camera_from_ct[0][:3, :3]
    assert torch.allclose(rotation @ rotation.T, torch.eye(3, dtype=torch.float64), atol=1e-9)
    assert result.method == METHOD
