"""Storage of a bag, and the messages in it; types of topics that nobody asks for are not parsed."""

from collections.abc import Collection, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from rosbags.interfaces import Connection, MessageDefinition, MessageDefinitionFormat
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from sph_reg_ros.errors import BagError, ErrorCode
from sph_reg_ros.replay.bag_messages import bag_types

STORAGES = ('.mcap', '.db3')
METADATA = 'metadata.yaml'
_ROS1_START = b'#ROSBAG V'
_IDL_RULE = '=' * 80 + '\n'


class BagFile:
    """An open bag: sqlite3 or MCAP, compressed or not, its message definitions in it or not."""

    def __init__(self, path: Path) -> None:
        """Open what `storage_of` returned."""
        self._reader = Reader(path)
        self._types: dict[str, Typestore] = {}
        self._reader.open()

    @cached_property
    def connections(self) -> list[Connection]:
        """Return the topics."""
        return list(self._reader.connections)

    def messages(
        self, connections: Collection[Connection], start: int | None = None, stop: int | None = None
    ) -> Iterator[tuple[Connection, int, bytes]]:
        """Yield connection, time of arrival (ns) and content of messages, in the file's order.

        Args:
            connections: topics; all if empty.
            start: first time of arrival.
            stop: the one after the last.
        """
        return self._reader.messages(connections, start, stop)

    def deserialize(self, raw: bytes, kind: str) -> Any:
        """Return a message of a type such as sensor_msgs/msg/Image."""
        if kind not in self._types:
            self._types[kind] = self._store(kind)
        return self._types[kind].deserialize_cdr(raw, kind)

    def close(self) -> None:
        """Close the files."""
        self._reader.close()

    def _store(self, kind: str) -> Typestore:
        for connection in self.connections:
            definition = connection.msgdef
            if connection.msgtype == kind and definition.format != MessageDefinitionFormat.NONE:
                store = get_typestore(Stores.EMPTY)
                store.register(_types_of(definition, kind))
                return store
        return bag_types()


def storage_of(path: Path) -> Path:
    """Return what to open for a path: a folder with metadata, or a single file of a bag.

    Raises:
        BagError: BAG_UNREADABLE, which says what is there instead.
    """
    if not path.exists():
        raise unreadable(path, 'there is no such file or folder')
    if path.is_file():
        return _storage_of_file(path)
    if (path / METADATA).is_file():
        return path
    single = [file for file in path.iterdir() if file.suffix in STORAGES]
    if len(single) == 1:
        return single[0]
    if any(_is_ros1(file) for file in path.iterdir()):
        raise unreadable(path, 'it is a folder with bags of ROS 1: give one of its files')
    if single:
        raise unreadable(
            path,
            f'it holds {len(single)} files and no {METADATA}: `ros2 bag reindex` writes it; or '
            'give one of the files',
        )
    raise unreadable(path, f'it is no bag: there is neither {METADATA} nor a .mcap or .db3 file')


def unreadable(path: Path, reason: str) -> BagError:
    """Return the error of a bag that cannot be read."""
    return BagError(ErrorCode.BAG_UNREADABLE, f'the bag {path} cannot be read: {reason}')


def _storage_of_file(path: Path) -> Path:
    if _is_ros1(path):
        raise unreadable(
            path,
            'it is a bag of ROS 1: convert it, `rosbags-convert --src '
            f'{path.name} --dst {path.stem}`, and give the new folder',
        )
    if path.name in _listed_files(path.parent) or path.name == METADATA:
        return path.parent
    if path.suffix in STORAGES:
        return path
    raise unreadable(path, 'it is no bag: give the folder of a ROS 2 bag, or a .mcap or .db3 file')


def _is_ros1(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open('rb') as file:
        return file.read(len(_ROS1_START)) == _ROS1_START


def _listed_files(folder: Path) -> set[str]:
    """Return the names of the files that a folder's metadata lists; none if it is damaged."""
    try:
        content = yaml.safe_load((folder / METADATA).read_text(encoding='utf-8'))
        paths = content['rosbag2_bagfile_information']['relative_file_paths']
        return {Path(path).name for path in paths}
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError):
        return set()


def _types_of(definition: MessageDefinition, kind: str) -> dict[str, Any]:
    if definition.format == MessageDefinitionFormat.MSG:
        return dict(get_types_from_msg(definition.data, kind))
    parts = [definition.data]
    if definition.data.startswith(f'{_IDL_RULE}IDL: '):
        parts = [part.split('\n', 1)[1] for part in definition.data.split(_IDL_RULE)[1:]]
    return {name: fields for part in parts for name, fields in get_types_from_idl(part).items()}
