"""The order of a bag's messages in a replay: run by run, by header stamp."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from rosbags.interfaces import Connection

from sph_reg_ros.messages.message_types import Message
from sph_reg_ros.replay.bag_runs import runs_of
from sph_reg_ros.replay.bag_topics import TRANSFORMS


@dataclass(frozen=True)
class Shot:
    """An image of the bag, by run and header."""

    run: int
    stamp_ns: int
    frame_id: str


@dataclass(frozen=True)
class Entry:
    """A message as it lies in the bag; an image is not kept, as all would fill the memory.

    Attributes:
        stream: messages whose stamps go on with each other: those of an input, or, of the many that
            tell transforms, those of one frame.
    """

    name: str
    stream: str
    number: int
    received_ns: int
    stamp_ns: int
    frame_id: str
    known_before: bool
    connection: Connection
    message: Message


@dataclass(frozen=True, order=True)
class Place:
    """Where a message comes in the replay.

    What explains an image comes before the image that bears the same stamp.
    """

    run: int
    turn_ns: int
    is_image: bool
    received_ns: int
    number: int
    entry: Entry = field(compare=False)


def places_of(entries: list[Entry], begun: Sequence[int], ahead_ns: int) -> Iterator[Place]:
    """Yield the place of each message, in no order.

    Args:
        entries: in order of arrival.
        begun: when each run after the first one began, as `beginnings` gives it.
        ahead_ns: how long before their time transforms come. The live node waits for those that
            follow an image; in a replay that waits for each result none would.
    """
    streams: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        if not entry.known_before:
            streams[entry.stream].append(entry)
    for mine in streams.values():
        runs = runs_of([(e.stamp_ns, e.received_ns) for e in mine], begun)
        for entry, run in zip(mine, runs, strict=True):
            turn_ns = max(entry.stamp_ns - ahead_ns * (entry.name in TRANSFORMS), 0)
            is_image = entry.name == 'image'
            yield Place(run, turn_ns, is_image, entry.received_ns, entry.number, entry)
    for entry in entries:
        if entry.known_before:
            yield Place(0, 0, False, entry.received_ns, entry.number, entry)
