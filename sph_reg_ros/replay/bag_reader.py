"""Reads the inputs of a registration from a bag, in the order of header stamps.

Where the stamps of a bag start again, each run through them is in order for itself.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rosbags.interfaces import Connection

from sph_reg_ros.errors import BagError, ErrorCode
from sph_reg_ros.messages.conversions import NANOSECONDS, nanoseconds
from sph_reg_ros.messages.message_types import Message
from sph_reg_ros.messages.missing_input import compressed_topic
from sph_reg_ros.messages.tf_buffer import CACHE_NS, plain
from sph_reg_ros.replay.bag_file import BagFile, storage_of, unreadable
from sph_reg_ros.replay.bag_index import Entry, Shot, places_of
from sph_reg_ros.replay.bag_runs import beginnings, runs_of
from sph_reg_ros.replay.bag_topics import (
    IMAGE_TYPES,
    INPUTS,
    KNOWN_BEFORE,
    POSE_TYPES,
    TRANSFORMS,
    is_a,
)
from sph_reg_ros.service.parameters import NodeParameters


@dataclass(frozen=True)
class Event:
    """A message for one of the inputs.

    Attributes:
        name: of the input.
        stamp_ns: when the message takes its turn; of its header unless it was known before, and
            0 if that is below.
        message: of the bag.
        run: through the stamps, from 0; they start again with each.
    """

    name: str
    stamp_ns: int
    message: Message
    run: int = 0


class BagInputs:
    """An open bag and the topics in it that are the node's inputs."""

    def __init__(
        self, reader: BagFile, names: dict[str, str], path: Path, parameters: NodeParameters
    ) -> None:
        """Find the topics; see `opened`."""
        self._reader, self._path, self._parameters = reader, path, parameters
        transport = parameters.image.transport
        self._kinds = INPUTS | {'image': IMAGE_TYPES[transport]}
        wanted = {name: names.get(name, name) for name in INPUTS}
        if transport == 'compressed':
            wanted['image'] = compressed_topic(wanted['image'])
        transforms = {name: wanted.pop(name) for name in TRANSFORMS}
        self.topics = self._found(wanted)
        if self.topics['image'] is None:
            raise self._missing('image', wanted['image'])
        entries = self._entries(self.topics)
        begin = [e for e in entries if e.name not in KNOWN_BEFORE]
        self._begun = beginnings((e.name, e.stamp_ns, e.received_ns) for e in begin)
        if self._needs_transforms(entries):
            found = self._found(transforms)
            self.topics |= found
            entries += self._entries(found)
        ahead_ns = round(parameters.matching.timeout * NANOSECONDS)
        # Transforms are kept for a limited time.
        self._places = sorted(places_of(entries, self._begun, min(ahead_ns, CACHE_NS // 2)))

    @property
    def images(self) -> int:
        """Return how many images there are."""
        return len(self.shots)

    @property
    def runs(self) -> int:
        """Return how many runs through its stamps the bag holds."""
        return len(self._begun) + 1

    @property
    def shots(self) -> list[Shot]:
        """Return all images in order."""
        images = [place for place in self._places if place.is_image]
        return [Shot(p.run, p.entry.stamp_ns, p.entry.frame_id) for p in images]

    @property
    def frames(self) -> set[str]:
        """Return the frames that images and imager poses are in."""
        named = ('image', 'imager_pose')
        own = self._parameters.imager_pose.fixed_frame
        fixed = {own} if self._parameters.imager_from_tf else set()
        return fixed | {p.entry.frame_id for p in self._places if p.entry.name in named}

    def events(self) -> Iterator[Event]:
        """Yield the messages in order; images are read one by one, as they would fill the memory.

        Raises:
            BagError: BAG_UNREADABLE.
        """
        for place in self._places:
            entry = place.entry
            message = self._image(entry) if place.is_image else entry.message
            if isinstance(message, bytes):
                message = self._reader.deserialize(message, entry.connection.msgtype)
            yield Event(entry.name, place.turn_ns, message, place.run)

    def has_poses(self, topic: str) -> bool:
        """Return whether there is a topic that `poses` reads."""
        return any(is_a(c, POSE_TYPES) for c in self._connections(topic))

    def poses(self, topic: str) -> list[list[Message]]:
        """Return the PoseStamped or PoseWithCovarianceStamped of a topic as they came, by run.

        Raises:
            BagError: BAG_TOPIC_MISSING.
        """
        connections = [c for c in self._connections(topic) if is_a(c, POSE_TYPES)]
        if not connections:
            raise self._missing('the truth', topic, POSE_TYPES)
        with _typed_errors(self._path):
            found: list[tuple[Any, int]] = [
                (self._reader.deserialize(raw, connection.msgtype), received_ns)
                for connection, received_ns, raw in self._reader.messages(connections)
            ]
        stamped = [(nanoseconds(message.header.stamp), at_ns) for message, at_ns in found]
        by_run: list[list[Message]] = [[] for _ in range(self.runs)]
        for (message, _), run in zip(found, runs_of(stamped, self._begun), strict=True):
            by_run[run].append(message)
        return by_run

    def _found(self, wanted: dict[str, str]) -> dict[str, str | None]:
        return {name: self._topic(name, topic) for name, topic in wanted.items()}

    def _needs_transforms(self, entries: list[Entry]) -> bool:
        direct = ('image', 'imager_pose') if self._parameters.imager_from_topic else ('image',)
        known = {plain(e.frame_id) for e in entries if e.name in direct}
        known.add(plain(self._parameters.imager_pose.imager_frame))
        return self._parameters.imager_from_tf or any(
            plain(e.frame_id) not in known for e in entries if e.name == 'initial_pose'
        )

    def _topic(self, name: str, wanted: str) -> str | None:
        """Return the topic of an input: as named, or the only one whose name ends so."""
        there = {c.topic for c in self._connections(wanted)}
        if not there:
            matching = [c for c in self._reader.connections if is_a(c, self._kinds[name])]
            there = {c.topic for c in matching if c.topic.endswith('/' + wanted.lstrip('/'))}
        if len(there) > 1:
            raise BagError(
                ErrorCode.BAG_TOPIC_MISSING,
                f'{self._path.name}: which one is {name}? {", ".join(sorted(there))}; say it by '
                f'--topic {name}:=TOPIC',
            )
        topic = next(iter(there), None)
        kinds = {c.msgtype for c in self._reader.connections if c.topic == topic}
        if topic is not None and not all(
            is_a(c, self._kinds[name]) for c in self._connections(topic)
        ):
            raise BagError(
                ErrorCode.BAG_TOPIC_MISSING,
                f'{self._path.name}: {topic} is {", ".join(sorted(kinds))}, and {name} must be '
                f'{self._kinds[name][0]}{self._other_transport(name)}',
            )
        return topic

    def _connections(self, topic: str) -> list[Connection]:
        name = '/' + topic.lstrip('/')
        return [c for c in self._reader.connections if c.topic == name and c.msgcount]

    def _missing(self, name: str, wanted: str, kinds: tuple[str, ...] | None = None) -> BagError:
        kinds = kinds or self._kinds[name]
        there = sorted({c.topic for c in self._reader.connections if is_a(c, kinds)})
        return BagError(
            ErrorCode.BAG_TOPIC_MISSING,
            f'{self._path.name} has no topic {wanted} of type {" or ".join(kinds)} for {name}; '
            f'topics of that type: {", ".join(there) or "none"}{self._other_transport(name)}',
        )

    def _other_transport(self, name: str) -> str:
        """Say which topics hold the images in another form, and how to take those."""
        if name != 'image':
            return ''
        for transport, kinds in IMAGE_TYPES.items():
            there = sorted({c.topic for c in self._reader.connections if is_a(c, kinds)})
            if kinds != self._kinds['image'] and there:
                return (
                    f'; {", ".join(there)} is {kinds[0]}: give --param image.transport:={transport}'
                )
        return ''

    def _entries(self, topics: dict[str, str | None]) -> list[Entry]:
        """Return the messages of some inputs in order of arrival."""
        names = {topic: name for name, topic in topics.items() if topic}
        chosen = [c for c in self._reader.connections if c.topic in names]
        entries: list[Entry] = []
        heard: set[str] = set()
        with _typed_errors(self._path):
            # Without connections the library yields all messages.
            numbered = enumerate(self._reader.messages(chosen) if chosen else ())
            for number, (connection, received_ns, raw) in numbered:
                name = names[connection.topic]
                message: Any = self._reader.deserialize(raw, connection.msgtype)
                stream, header, kept = name, None, message
                if name == 'image':
                    kept = None
                if name in TRANSFORMS:
                    if not message.transforms:
                        continue
                    # Messages of numbers are many times as large as what they were read from.
                    kept = bytes(raw)
                    stream = f'{name} {message.transforms[0].child_frame_id}'
                    header = min((t.header for t in message.transforms), key=_stamp_ns)
                header = header or message.header
                first = name in KNOWN_BEFORE and stream not in heard
                heard.add(stream)
                entries.append(
                    Entry(
                        name=name,
                        stream=stream,
                        number=number,
                        received_ns=received_ns,
                        stamp_ns=_stamp_ns(header),
                        frame_id=header.frame_id,
                        known_before=first,
                        connection=connection,
                        message=kept,
                    )
                )
        return entries

    def _image(self, entry: Entry) -> Message:
        end_ns = entry.received_ns + 1
        with _typed_errors(self._path):
            found = self._reader.messages([entry.connection], entry.received_ns, end_ns)
            for _, _, raw in found:
                message: Any = self._reader.deserialize(raw, entry.connection.msgtype)
                if nanoseconds(message.header.stamp) == entry.stamp_ns:
                    return message
        raise unreadable(self._path, 'an image is gone')


def _stamp_ns(header: Message) -> int:
    return nanoseconds(header.stamp)


@contextmanager
def opened(
    path: Path, names: dict[str, str], parameters: NodeParameters | None = None
) -> Iterator[BagInputs]:
    """Open a bag: sqlite3 or MCAP, of any ROS 2, its message definitions in it or not.

    Args:
        path: folder of the bag, or a file of it.
        names: topics of inputs, where they differ from the names in INPUTS.
        parameters: of the node; they say in which form images are taken, compressed ones on the
            topic below that of the raw ones, and whether transforms are needed.

    Raises:
        BagError: BAG_UNREADABLE, or BAG_TOPIC_MISSING if there are no images.
    """
    with _typed_errors(path):
        storage = storage_of(path)
        reader = BagFile(storage)
    try:
        yield BagInputs(reader, names, storage, parameters or NodeParameters())
    finally:
        reader.close()


@contextmanager
def _typed_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except BagError:
        raise
    # A damaged file makes the readers of storage, compression and messages fail in any way.
    except Exception as error:
        reason = ' '.join(str(error).split())[:300] or type(error).__name__
        raise unreadable(path, f'{reason}; `ros2 bag reindex` may repair it') from None
