"""Order in which bag_player publishes messages."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace

from sph_reg_ros.replay.bag_reader import Event

_COMPANIONS = ('camera_info', 'imager_pose')


def companions_first(events: Iterable[Event], tolerance_ns: int) -> Iterator[Event]:
    """Move cameras and poses before the image that they may belong to.

    The node takes the imager pose that is closest in time, be it later than the image. Played at
    its normal rate a bag brings that one while the image waits for it; here time stands still.

    Args:
        events: in the order of the bag.
        tolerance_ns: how much later than the image its companions may be.
    """
    waiting: deque[Event] = deque()
    for event in events:
        while waiting and event.stamp_ns > waiting[0].stamp_ns + tolerance_ns:
            yield waiting.popleft()
        if waiting and event.name in _COMPANIONS:
            yield replace(event, stamp_ns=waiting[0].stamp_ns)
        elif waiting or event.name == 'image':
            waiting.append(event)
        else:
            yield event
    yield from waiting
