"""Writes new bags that every ROS 2 can play."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer, WriterError

from sph_reg_ros.errors import BagError, ErrorCode
from sph_reg_ros.messages.message_types import Message
from sph_reg_ros.replay.bag_messages import bag_types

STORAGES = ('mcap', 'sqlite3')
# Version 9 of the format writes QoS in a way that Humble does not read.
_VERSION: Literal[8] = 8
_FOREVER = QosTime(9223372036, 854775807)


class BagWriter:
    """Writes messages by topic; a topic has one type."""

    def __init__(self, writer: Writer) -> None:
        """Write with an open writer."""
        self._writer = writer
        self._connections: dict[str, Connection] = {}

    def write(self, topic: str, message: Message, stamp_ns: int, *, latched: bool = False) -> None:
        """Write a message as received at a time; a latched topic says so in the bag."""
        kind = message.__msgtype__
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(
                topic, kind, typestore=bag_types(), offered_qos_profiles=[_qos(latched)]
            )
        data = bag_types().serialize_cdr(message, kind)
        self._writer.write(self._connections[topic], stamp_ns, data)


@contextmanager
def new_bag(path: Path, storage: str) -> Iterator[BagWriter]:
    """Make a bag, a folder that must not be there yet.

    Args:
        path: of the folder; its parents are made.
        storage: one of STORAGES.

    Raises:
        BagError: BAG_UNREADABLE if the folder is there already or cannot be made.
    """
    plugin = {'mcap': StoragePlugin.MCAP, 'sqlite3': StoragePlugin.SQLITE3}[storage]
    try:
        writer = Writer(path, version=_VERSION, storage_plugin=plugin)
        writer.open()
        # X-rays and poses of a patient: for the owner only.
        path.chmod(0o700)
    except (WriterError, OSError) as error:
        raise BagError(ErrorCode.BAG_UNREADABLE, f'no bag can be written: {error}') from None
    try:
        yield BagWriter(writer)
    finally:
        writer.close()


def _qos(latched: bool) -> Qos:
    durability = QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE
    times: dict[str, Any] = dict.fromkeys(
        ('deadline', 'lifespan', 'liveliness_lease_duration'), _FOREVER
    )
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=1 if latched else 10,
        reliability=QosReliability.RELIABLE,
        durability=durability,
        liveliness=QosLiveliness.AUTOMATIC,
        avoid_ros_namespace_conventions=False,
        **times,
    )
