"""What belongs to an image is published before it, be it stamped a little later."""

from types import SimpleNamespace

from sph_reg_ros.replay.bag_reader import Event
from sph_reg_ros.replay.ordering import companions_first

TOLERANCE_NS = 20


def played(*entries: tuple[str, int]) -> list[tuple[str, int, int]]:
    """Return name, turn and stamp of each event in the order of the player."""
    events = [Event(name, stamp_ns, SimpleNamespace(ns=stamp_ns)) for name, stamp_ns in entries]
    ordered = companions_first(events, TOLERANCE_NS)
    return [(event.name, event.stamp_ns, event.message.ns) for event in ordered]


def test_a_pose_a_little_later_than_an_image_comes_before_it_and_time_does_not_run_ahead():
    order = played(('imager_pose', 90), ('image', 100), ('imager_pose', 120), ('imager_pose', 121))
    assert order == [
        ('imager_pose', 90, 90),
        ('imager_pose', 100, 120),
        ('image', 100, 100),
        ('imager_pose', 121, 121),
    ]


def test_an_initial_pose_later_than_an_image_is_not_for_it():
    order = played(('image', 100), ('initial_pose', 105), ('camera_info', 110))
    assert [name for name, _, _ in order] == ['camera_info', 'image', 'initial_pose']


def test_images_close_to_each_other_keep_their_order_and_none_is_lost():
    order = played(('image', 100), ('image', 110), ('imager_pose', 115), ('imager_pose', 128))
    assert [(name, stamp) for name, _, stamp in order] == [
        ('imager_pose', 115),
        ('image', 100),
        ('imager_pose', 128),
        ('image', 110),
    ]
    turns = [turn for _, turn, _ in order]
    assert turns == sorted(turns)
