"""Where imager and initial pose are at the time of an X-ray, from transforms; no ROS."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from transforms3d.euler import euler2mat
from transforms3d.quaternions import mat2quat

from sph_reg_ros.errors import ConfigError, ErrorCode, PoseError
from sph_reg_ros.messages.xray_view import FramedPose, InitialPose, XRayView
from sph_reg_ros.service.frames import Frames
from sph_reg_ros.service.parameters import FrameParameters, ImagerPoseParameters, NodeParameters

SECOND = 1_000_000_000
T0 = 100 * SECOND
BY_TF = NodeParameters(imager_pose=ImagerPoseParameters('tf', 'robot'))
WITHOUT = NodeParameters(use_imager_pose=False)


def pose(x: float = 0.0, y: float = 0.0, z: float = 0.0, turn: float = 0.0) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = euler2mat(turn, turn / 2, 0), [x, y, z]
    return matrix


def tf(parent: str, child: str, matrix: np.ndarray, stamp_ns: int = T0) -> SimpleNamespace:
    """Return a TFMessage, as any library would."""
    w, x, y, z = mat2quat(matrix[:3, :3])
    transform = SimpleNamespace(
        translation=SimpleNamespace(**dict(zip('xyz', matrix[:3, 3] / 1000, strict=True))),
        rotation=SimpleNamespace(w=w, x=x, y=y, z=z),
    )
    sec, nanosec = divmod(stamp_ns, SECOND)
    header = SimpleNamespace(frame_id=parent, stamp=SimpleNamespace(sec=sec, nanosec=nanosec))
    return SimpleNamespace(
        transforms=[SimpleNamespace(header=header, child_frame_id=child, transform=transform)]
    )


def frames(parameters: NodeParameters, *links, static=()) -> Frames:
    known = Frames(lambda: parameters)
    for link in links:
        known.buffer.add(tf(*link))
    for link in static:
        known.buffer.add(tf(*link), static=True)
    return known


def view(imager: FramedPose | None = None, stamp_ns: int = T0) -> XRayView:
    return XRayView(stamp_ns, 'carm_optical', np.zeros((2, 2), np.uint8), np.eye(3), imager)


ROBOT_FROM_BASE, BASE_FROM_ARM = pose(500, -200, 900, 0.4), pose(0, 100, 0, 1.1)
ARM_FROM_OPTICAL = pose(0, 0, 600, -0.5)
CARM = (('robot', 'base', ROBOT_FROM_BASE), ('base', 'arm', BASE_FROM_ARM))
MOUNT = ('arm', 'carm_optical', ARM_FROM_OPTICAL)


def test_the_imager_is_where_a_chain_of_moving_and_static_links_puts_it():
    seen = frames(BY_TF, *CARM, static=[MOUNT]).with_imager(view())
    assert seen.imager.frame_id == 'robot'
    assert np.allclose(seen.imager.matrix, ROBOT_FROM_BASE @ BASE_FROM_ARM @ ARM_FROM_OPTICAL)


def test_a_c_arm_at_rest_may_be_static_altogether():
    known = frames(BY_TF, static=[*CARM, MOUNT])
    assert known.known('carm_optical', T0 + 99 * SECOND, None, None)
    assert known.with_imager(view(stamp_ns=T0 + 99 * SECOND)).imager is not None


def test_the_imagers_name_on_tf2_may_differ_from_that_of_the_image():
    named = replace(BY_TF, imager_pose=ImagerPoseParameters('tf', 'robot', 'detector'))
    mount = ('arm', 'detector', ARM_FROM_OPTICAL)
    known = frames(named, *CARM, static=[mount])
    seen = known.with_imager(view())
    assert np.allclose(seen.imager.matrix, ROBOT_FROM_BASE @ BASE_FROM_ARM @ ARM_FROM_OPTICAL)
    guess = InitialPose('detector', pose(z=700))
    assert np.allclose(known.seen_from(seen, guess).matrix, guess.matrix)
    assert known.seen_from(seen, guess).frame_id == 'carm_optical'


@pytest.mark.parametrize(
    ('links', 'stamp_ns', 'words'),
    [
        ((), T0, ['no transform was received', "'carm_optical'", "'robot'"]),
        (CARM[:1], T0, ['no link', 'carm_optical', 'robot']),
        ((*CARM, MOUNT), T0 + SECOND, ['not known at 101.000 s', 'newest 100.000 s', 'base < arm']),
    ],
)
def test_an_imager_that_tf2_does_not_know_is_named_with_stamp_and_frames(links, stamp_ns, words):
    known = frames(BY_TF, *links)
    assert not known.known('carm_optical', stamp_ns, None, None)
    with pytest.raises(PoseError) as caught:
        known.with_imager(view(stamp_ns=stamp_ns))
    assert caught.value.code == ErrorCode.IMAGER_POSE_MISSING
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_transform_in_millimetres_is_refused_and_not_waited_for():
    known = frames(BY_TF, ('robot', 'carm_optical', pose(x=1_200_000)))
    assert known.known('carm_optical', T0, None, None)
    with pytest.raises(PoseError, match='1200 m away') as caught:
        known.with_imager(view())
    assert caught.value.code == ErrorCode.POSE_INVALID


def test_what_came_by_topic_is_left_as_it_is():
    imager = FramedPose('table', pose(1, 2, 3))
    assert frames(NodeParameters(), *CARM).with_imager(view(imager)).imager is imager
    assert frames(NodeParameters(), *CARM).with_imager(view()).imager is None


IMAGER = FramedPose('base', pose(10, 20, 30, 0.7))
GUESS = pose(5, -400, 60, 0.3)
TABLE = ('robot', 'table', pose(-300, 50, 700, -0.9))


@pytest.mark.parametrize(
    ('parameters', 'imager', 'frame', 'links', 'expected'),
    [
        (WITHOUT, None, 'carm_optical', (), GUESS),
        (NodeParameters(), IMAGER, 'base', (), np.linalg.inv(IMAGER.matrix) @ GUESS),
        (
            NodeParameters(),
            IMAGER,
            'table',
            (*CARM[:1], TABLE),
            np.linalg.inv(ROBOT_FROM_BASE @ IMAGER.matrix) @ TABLE[2] @ GUESS,
        ),
        (
            WITHOUT,
            None,
            'table',
            (*CARM, MOUNT, TABLE),
            np.linalg.inv(ROBOT_FROM_BASE @ BASE_FROM_ARM @ ARM_FROM_OPTICAL) @ TABLE[2] @ GUESS,
        ),
    ],
    ids=['imager frame', 'fixed frame', 'by tf2 and imager pose', 'by tf2 alone'],
)
def test_an_initial_pose_is_seen_from_the_imager(parameters, imager, frame, links, expected):
    known = frames(parameters, *links)
    initial = InitialPose(frame, GUESS)
    assert known.known('carm_optical', T0, imager, initial)
    seen = known.seen_from(view(imager), initial)
    assert seen.frame_id == 'carm_optical'
    assert np.allclose(seen.matrix, expected)
    assert known.seen_from(view(imager), None) is None


def test_a_frame_that_moves_counts_where_it_was_at_the_xray():
    later = ('robot', 'table', pose(-300, 50, 800, -0.9), T0 + SECOND)
    known = frames(WITHOUT, ('robot', 'carm_optical', np.eye(4)), TABLE, later)
    known.buffer.add(tf('robot', 'carm_optical', np.eye(4), T0 + SECOND))
    seen = known.seen_from(view(stamp_ns=T0 + SECOND // 4), InitialPose('table', np.eye(4)))
    assert np.allclose(seen.matrix[:3, 3], [-300, 50, 725])


@pytest.mark.parametrize('imager', [None, IMAGER])
def test_an_initial_pose_in_a_frame_without_link_is_refused_with_both_frames(imager):
    known = frames(NodeParameters(), *CARM)
    initial = InitialPose('moon', np.eye(4))
    assert not known.known('carm_optical', T0, imager, initial)
    with pytest.raises(PoseError, match="'moon'") as caught:
        known.seen_from(view(imager), initial)
    assert caught.value.code == ErrorCode.TRANSFORM_MISSING
    assert repr('carm_optical' if imager is None else 'base') in str(caught.value)


def test_an_initial_pose_in_the_patients_own_frame_cannot_confirm_itself():
    known = frames(WITHOUT, ('carm_optical', 'patient', GUESS))
    with pytest.raises(PoseError) as caught:
        known.seen_from(view(), InitialPose('patient', np.eye(4)))
    assert caught.value.code == ErrorCode.TRANSFORM_MISSING


def test_a_covariance_turns_with_its_pose():
    covariance = np.diag([1e-4, 4e-4, 9e-4, 0.01, 0.02, 0.03])
    turn = euler2mat(0, 0, np.pi / 2)
    matrix = np.eye(4)
    matrix[:3, :3] = turn
    seen = InitialPose('base', GUESS, covariance).seen_from('imager', matrix)
    assert np.allclose(np.diag(seen.covariance), [4e-4, 1e-4, 9e-4, 0.02, 0.01, 0.03])


@pytest.mark.parametrize(
    ('parameters', 'initial', 'direct', 'needed'),
    [
        (BY_TF, None, (), True),
        (NodeParameters(), None, (), False),
        (NodeParameters(), 'base', ('carm_optical', 'base'), False),
        (NodeParameters(), 'table', ('carm_optical', 'base'), True),
        (WITHOUT, 'carm_optical', ('carm_optical',), False),
    ],
)
def test_tf2_is_heard_only_where_it_is_of_use(parameters, initial, direct, needed):
    initials = [None, initial and InitialPose(initial, np.eye(4))]
    assert frames(parameters).needed(initials, direct) is needed


@pytest.mark.parametrize(
    ('fixed', 'imager'), [('', ''), ('carm_optical', 'carm_optical'), ('patient', '')]
)
def test_parameters_that_name_no_fixed_frame_are_refused(fixed, imager):
    with pytest.raises(ConfigError, match='fixed_frame'):
        NodeParameters(
            imager_pose=ImagerPoseParameters('tf', fixed, imager), frames=FrameParameters()
        )
    unused = ImagerPoseParameters('tf', fixed, imager)
    assert not NodeParameters(use_imager_pose=False, imager_pose=unused).imager_from_tf
